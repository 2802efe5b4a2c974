import { ROOMS } from "../../.dependency-cruiser.mjs";
import { cruiseProduct, importsBetweenRooms, roomsInCircles } from "./graph.js";

const product = await cruiseProduct();
const imports = importsBetweenRooms(product);
const circles = roomsInCircles(imports);
for (const room of ROOMS) {
  const files = product.modules.filter(({ source }) => source === `src/${room}` || source.startsWith(`src/${room}/`));
  const below = [...imports]
    .filter(([key]) => key.startsWith(`${room} `))
    .map(([key, count]) => `${key.split(" ")[1]} ${count}`);
  console.log(`${room} (${files.length} files): ${below.join(", ") || "no other room"}`);
}
console.log(`${ROOMS.length} rooms, ${imports.size} ways between them, ${circles.length} rooms in circles`);
if (circles.length > 0) process.exitCode = 1;
