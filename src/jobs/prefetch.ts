/** The same values; while the consumer works on one, the next is already on its way. */
export async function* oneAhead<T>(source: AsyncIterable<T>): AsyncGenerator<T, void, void> {
  const values = source[Symbol.asyncIterator]();
  const begun = () => {
    const next = values.next();
    next.catch(() => {}); // it is thrown where it is awaited, which may be never
    return next;
  };
  let next = begun();
  try {
    for (;;) {
      const { done, value } = await next;
      if (done) return;
      next = begun();
      yield value;
    }
  } finally {
    await values.return?.();
  }
}
