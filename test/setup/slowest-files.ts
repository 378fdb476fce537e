import type { Reporter, TestModule } from "vitest/node";

const SHOWN = 10;

/** Prints at the end which files took longest, so that a slow one is seen when it is made. */
export class SlowestFiles implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const took = modules.map((module) => ({
      name: module.relativeModuleId,
      seconds: module.diagnostic().duration / 1000,
    }));
    took.sort((a, b) => b.seconds - a.seconds);
    const lines = took
      .slice(0, SHOWN)
      .map(({ name, seconds }) => `${seconds.toFixed(1).padStart(7)} s  ${name}`);
    if (took.length > 1) process.stdout.write(`\n Slowest files\n${lines.join("\n")}\n`);
  }
}
