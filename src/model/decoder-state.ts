import { KVCache } from "../../layers/kv-cache.js";
import { InputError } from "../base/errors.js";

/**
 * What decoding remembers between steps: keys and values of every layer, and which positions are real and in the block.
 * It owns the cached tensors; `dispose` frees them.
 */
export class DecoderState {
  readonly layers: readonly KVCache[];
  /** 1 for real tokens, 0 for pads, of all positions so far. [B, S] */
  attentionMask: number[][] = [];
  /** 0 in the open block and for pads, 1 behind it. [B, S] */
  tokenTypes: number[][] = [];
  /** Of the model's weights when the first positions were added. */
  private revision = 0;

  /** `capacity`: positions that room is made for at once, where that is known. */
  constructor(numHiddenLayers: number, capacity = 0) {
    this.layers = Array.from({ length: numHiddenLayers }, (_, i) => new KVCache({ name: `cache.${i}`, capacity }));
  }

  /** Throws `InputError` when positions are remembered that weights of another revision have made. */
  begin(revision: number): void {
    if (this.attentionMask.length === 0) this.revision = revision;
    if (this.revision !== revision) {
      throw new InputError("state: it was begun with other adapters than those active now; begin with a new one");
    }
  }

  /** Adds the new positions of each row to what is remembered. */
  extend(attentionMask: readonly (readonly number[])[], tokenTypes: readonly (readonly number[])[]): void {
    this.attentionMask = attentionMask.map((row, b) => [...(this.attentionMask[b] ?? []), ...row]);
    this.tokenTypes = tokenTypes.map((row, b) => [...(this.tokenTypes[b] ?? []), ...row]);
  }

  /**
   * Goes on with these rows, in this order; a row may come more than once. Nothing is copied where they are those that
   * are there.
   */
  selectRows(rows: readonly number[]): void {
    if (rows.length === this.attentionMask.length && rows.every((row, i) => row === i)) return;
    for (const cache of this.layers) cache.selectRows(rows);
    this.attentionMask = rows.map((row) => this.attentionMask[row]!);
    this.tokenTypes = rows.map((row) => this.tokenTypes[row]!);
  }

  /** Frees every cached tensor and forgets every position. */
  dispose(): void {
    for (const cache of this.layers) cache.reset();
    this.attentionMask = [];
    this.tokenTypes = [];
  }
}
