import type { ComposedEntry, PlacedEntry } from "../checkpoint-entry.js";
import { fromFloat32, isFloat } from "../dtype.js";
import type { ByteSource } from "../byte-source.js";
import { codeBytes, type PackedForm, type PackTables, unpackedRows } from "./packed-form.js";

/**
 * A packed matrix of a checkpoint. As any other entry it gives its weights in `dtype`; who multiplies packed ones takes
 * codes and tables.
 */
export interface QuantisedEntry extends ComposedEntry {
  readonly form: PackedForm;
  /** Where the codes lie. */
  readonly codes: PlacedEntry;
  /** Bytes of codes and tables in memory. */
  readonly packedBytes: number;
  /** What turns codes into weights. */
  tables(): Promise<PackTables>;
}

export const isQuantised = (entry: object): entry is QuantisedEntry => "tables" in entry;

/** What a `QuantisedEntry` is made of. */
export type QuantisedParts = Pick<QuantisedEntry, "form" | "codes" | "dtype" | "shape" | "tables"> & {
  blocks: number;
  source: ByteSource;
};

/** The entry of a packed matrix. */
export function quantisedEntry({ form, codes, dtype, shape, tables, blocks, source }: QuantisedParts): QuantisedEntry {
  const numbers = shape.reduce((product, axis) => product * axis, 1);
  const packedBytes = codeBytes(form, numbers) + 4 * blocks;
  return {
    ...{ name: codes.name, file: codes.file, form, codes, dtype, shape, tables },
    packedBytes,
    async read(onBytes) {
      const bytes = await source.read(codes.start, codes.end);
      onBytes(packedBytes);
      const width = numbers / shape[0];
      const values = unpackedRows(bytes, await tables(), { width, from: 0, to: shape[0] });
      return fromFloat32(values, isFloat(dtype) ? dtype : "F32");
    },
  };
}
