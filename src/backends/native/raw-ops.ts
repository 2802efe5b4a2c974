import * as tf from "@tensorflow/tfjs";

/** The parts of tfjs-node's backend and addon that are needed to run operations of our own. */
export interface NodeBackend {
  binding: NodeBinding;
  tensorMap: { set(dataId: object, info: object): void };
  getInputTensorIds(tensors: tf.TensorInfo[]): number[];
  createOutputTensor(metadata: Handle): tf.Tensor;
  executeSingleOutput(name: string, attributes: object[], inputs: tf.TensorInfo[]): tf.Tensor;
  executeMultipleOutputs(name: string, attributes: object[], inputs: tf.TensorInfo[], outputs: number): tf.Tensor[];
}

/** A tensor of TensorFlow's by its number; whoever has it deletes it. `dtype` is TensorFlow's number of the type. */
export type Handle = { id: number; shape: number[]; dtype: number };

/** tfjs-node's own addon: raw operations on numbered tensors. */
export interface NodeBinding {
  TF_ATTR_INT: number;
  TF_ATTR_FLOAT: number;
  TF_ATTR_TYPE: number;
  TF_ATTR_BOOL: number;
  createTensor(shape: number[], dtype: number, values: ArrayBufferView): number;
  deleteTensor(id: number): void;
  executeOp(name: string, attributes: object[], ids: number[], outputs: number): Handle[];
  tensorDataSync(id: number): ArrayBufferView;
}

/** TensorFlow's numbers of types. */
export const TYPE = { float32: 1, int32: 3, uint8: 4, int8: 6, bfloat16: 14, float16: 19 } as const;

/** The backend "tensorflow", which must be the current one. */
export const nodeBackend = (): NodeBackend => tf.backend() as unknown as NodeBackend;

/**
 * A tensor that TensorFlow.js takes for a float32 matrix of `shape`, whatever is behind the handle, which it takes
 * over.
 */
export function labelled({ id, shape: actual, dtype }: Handle, shape: readonly number[]): tf.Tensor {
  const dataId = {};
  nodeBackend().tensorMap.set(dataId, { shape: actual, dtype, id, values: null, refCount: 1 });
  return tf.engine().makeTensorFromTensorInfo({ dataId, shape: [...shape], dtype: "float32" });
}

/** Raw operations in a row: what is between them is deleted at the end, also when one fails. */
export class RawOps {
  private readonly handles: number[] = [];

  constructor(private readonly backend: NodeBackend) {}

  /** Runs `body` and frees everything that it made, but for what it `keep`s. */
  static run<Result>(backend: NodeBackend, body: (ops: RawOps) => Result): Result {
    const ops = new RawOps(backend);
    try {
      return body(ops);
    } finally {
      for (const id of ops.handles) backend.binding.deleteTensor(id);
    }
  }

  /** An uploaded array. */
  upload(shape: number[], dtype: number, values: ArrayBufferView): number {
    return this.own(this.backend.binding.createTensor(shape, dtype, values));
  }

  /** An operation with types for attributes. */
  op(name: string, inputs: number[], types: Record<string, number>, flags: Record<string, boolean> = {}): Handle {
    const { binding } = this.backend;
    const attributes = [
      ...Object.entries(types).map(([key, value]) => ({ name: key, type: binding.TF_ATTR_TYPE, value })),
      ...Object.entries(flags).map(([key, value]) => ({ name: key, type: binding.TF_ATTR_BOOL, value })),
    ];
    const [handle] = binding.executeOp(name, attributes, inputs, 1);
    this.own(handle.id);
    return handle;
  }

  cast(id: number, from: number, to: number): Handle {
    return this.op("Cast", [id], { SrcT: from, DstT: to }, { Truncate: false });
  }

  reshape(id: number, type: number, shape: number[]): Handle {
    const to = this.upload([shape.length], TYPE.int32, Int32Array.from(shape));
    return this.op("Reshape", [id, to], { T: type, Tshape: TYPE.int32 });
  }

  /** Takes a handle out of what is freed. */
  keep(handle: Handle): Handle {
    this.handles.splice(this.handles.indexOf(handle.id), 1);
    return handle;
  }

  private own(id: number): number {
    this.handles.push(id);
    return id;
  }
}
