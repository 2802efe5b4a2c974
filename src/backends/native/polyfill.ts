/** The two functions of Node's `util` that tfjs-node 4.22.0 calls. */
export interface OldUtil {
  isNullOrUndefined?: (value: unknown) => boolean;
  isArray?: (value: unknown) => boolean;
}

/**
 * Puts `isNullOrUndefined` and `isArray` on the `util` module object, where Node 23 removed them and tfjs-node calls
 * them.
 *
 * They are set on every version, not only where they are missing: Node 22 still has them but prints a deprecation
 * warning at the first call. `util` must be the object that `require("util")` gives; an ESM namespace is read-only.
 * Source: tfjs #8609, `nodejs_kernel_backend.ts:743-771`, `kernels/TopK.ts`.
 */
export function polyfillUtil(util: OldUtil): void {
  util.isNullOrUndefined = (value) => value === null || value === undefined;
  util.isArray = Array.isArray;
}
