/** Times of the same work, in milliseconds. */
export type Samples = number[];

/**
 * Runs every body once for warm-up, then all of them in turn `repetitions` times, so that a drift of the machine hits
 * each alike.
 */
export async function alternating<Name extends string>(
  repetitions: number,
  bodies: Record<Name, () => Promise<void>>,
): Promise<Record<Name, Samples>> {
  const names = Object.keys(bodies) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as Samples])) as Record<Name, Samples>;
  for (const name of names) await bodies[name]();
  for (let i = 0; i < repetitions; i++) {
    for (const name of names) {
      const start = performance.now();
      await bodies[name]();
      samples[name].push(performance.now() - start);
    }
  }
  return samples;
}

/** Median, and the median of the distances from it. */
export function summarise(samples: Samples): { median: number; mad: number } {
  const centre = median(samples);
  return { median: centre, mad: median(samples.map((sample) => Math.abs(sample - centre))) };
}

function median(values: Samples): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
