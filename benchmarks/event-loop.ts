/** Milliseconds between two looks at the event loop, when nothing holds it up. */
const INTERVAL = 5;

/**
 * What `work` gives, and the longest time in seconds for which the event loop did not come to a timer of 5 ms
 * meanwhile.
 */
export async function longestGap<Result>(work: () => Promise<Result>): Promise<{ result: Result; gap: number }> {
  let last = performance.now();
  let gap = 0;
  const look = () => {
    const now = performance.now();
    gap = Math.max(gap, now - last);
    last = now;
  };
  const timer = setInterval(look, INTERVAL);
  try {
    const result = await work();
    look();
    return { result, gap: gap / 1000 };
  } finally {
    clearInterval(timer);
  }
}
