/** One measured thing: numbers by name, and what they are compared with. */
export interface BenchRow {
  readonly name: string;
  readonly values: Readonly<Record<string, number | string>>;
}

export interface BenchReport {
  readonly title: string;
  readonly rows: readonly BenchRow[];
}

/** Median, p99 and maximum of some measurements. */
export function quantiles(samples: readonly number[]): { p50: number; p99: number; max: number } {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** Microseconds of each call, after a warm-up. */
export function measure(
  work: (index: number) => unknown,
  count: number,
  warmup = count / 10,
): number[] {
  for (let index = 0; index < warmup; index++) work(index);
  return Array.from({ length: count }, (_, index) => {
    const start = performance.now();
    work(index);
    return (performance.now() - start) * 1000;
  });
}

/** Three significant digits. */
export function round(value: number): number {
  return Number(value.toPrecision(3));
}

/** Median and maximum of some milliseconds, in words; none where nothing was measured. */
export function timesOf(what: string, times: readonly number[]): string[] {
  if (times.length === 0) return [];
  const { p50, max } = quantiles(times);
  return [`${what} after ${round(p50)} ms (p50), ${round(max)} ms (most)`];
}

export function printReport({ title, rows }: BenchReport): void {
  console.log(`\n${title}`);
  console.table(Object.fromEntries(rows.map((row) => [row.name, row.values])));
}
