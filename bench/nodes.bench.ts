import { NodeRig, OTHER, type TestNode } from "../packages/runtime/test/support/node-rig.ts";
import { type BenchReport, type BenchRow, quantiles, round } from "./report.ts";

const ORDERS = Number(process.env["NODES_ORDERS"] ?? 40);
const CUTS = Number(process.env["NODES_CUTS"] ?? 12);

/**
 * Two machines of one installation, both on this one: from an order on A to the death of B's path,
 * and from a cut connection to that death. Until B's control is told, which is after it was verified.
 */
export async function run(): Promise<BenchReport> {
  const rows: BenchRow[] = [...(await orders())];
  for (const leaseMs of [2000, 300]) rows.push(await cuts(leaseMs));
  return { title: "A stop on several machines, milliseconds", rows };
}

async function orders(): Promise<BenchRow[]> {
  // A lease that nothing here ends: what is measured is the order.
  const rig = await NodeRig.open(2, "{ lease_ms: 30000 }");
  const [a, b] = rig.nodes as [TestNode, TestNode];
  const here: number[] = [];
  const there: number[] = [];
  let survivors = 0;
  try {
    for (let trial = 0; trial < ORDERS; trial++) {
      await a.link();
      const { ended } = await b.hold(OTHER);
      const envelope = await rig.order();
      const link = await a.link();
      const start = performance.now();
      const dead = settled(ended).then(() => performance.now() - start);
      await link.request({ t: "order", envelope });
      here.push(performance.now() - start);
      there.push(await dead);
      survivors += b.survivors;
      await reset(rig, a);
      await reset(rig, b);
    }
  } finally {
    await rig.close();
  }
  return [
    row(`order on A: A has the receipt, ${ORDERS} trials`, here, {}),
    row(`order on A: B's path is verified dead, ${ORDERS} trials`, there, { survivors }),
  ];
}

async function cuts(leaseMs: number): Promise<BenchRow> {
  const rig = await NodeRig.open(1, `{ lease_ms: ${leaseMs} }`);
  const [b] = rig.nodes as [TestNode];
  const took: number[] = [];
  let survivors = 0;
  let early = 0;
  try {
    while (took.length < CUTS) {
      const held = await b.hold(OTHER).catch(() => null);
      // A lease that ended by itself, because the machine was busy.
      if (held === null) {
        early += 1;
        continue;
      }
      const start = performance.now();
      b.proxy.cut("silent");
      await settled(held.ended);
      took.push(performance.now() - start);
      survivors += b.survivors;
      b.proxy.heal();
      while (!(await runs(b)));
    }
  } finally {
    await rig.close();
  }
  const name = `connection cut, lease ${leaseMs}: B's path is verified dead, ${CUTS} trials`;
  return row(name, took, { survivors, "ended uncut": early });
}

function row(
  name: string,
  samples: readonly number[],
  more: Readonly<Record<string, number>>,
): BenchRow {
  const { p50, p99, max } = quantiles(samples);
  return { name, values: { p50: round(p50), p99: round(p99), max: round(max), ...more } };
}

/** Not before B has recorded its own stop: only then is there anything to lift. */
async function reset(rig: NodeRig, node: TestNode): Promise<void> {
  const link = await node.link();
  for (;;) {
    const { state } = (await link.request({ t: "status" })) as { state: string };
    if (state === "COMPLETE" || state === "FAILED") break;
  }
  await rig.reset(node);
}

async function runs(node: TestNode): Promise<boolean> {
  return node.run(OTHER, "true").then(
    () => true,
    () => false,
  );
}

function settled(work: Promise<unknown>): Promise<void> {
  return work.then(
    () => undefined,
    () => undefined,
  );
}
