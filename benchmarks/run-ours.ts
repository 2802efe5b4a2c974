import { type SampleRequest, takeSample } from "./sample.js";

// A process of its own for one sample: the request is the argument, the sample the last line printed.
const request = JSON.parse(process.argv[2]) as SampleRequest;
console.log(JSON.stringify(await takeSample(request)));
