import { existsSync } from "node:fs";
import { join } from "node:path";
import { ControlGroups, type ToolPlace, ToolScope, withTools } from "../process/index.ts";
import { groupNameOf, MARKER_VARIABLE, refusalAt, TOOLS_PREFIX } from "../scram/index.ts";

/** A stop of one tenant or run ends the tools of that run, which have a scope of their own. */
const NOBODY = { tenant_id: "", run_id: "" };

/**
 * The same services, whose tools outside the sandbox, such as a git that looks at a repository, are
 * within the kill switch's reach: in a group of the installation, which one write kills, and marked
 * for the sweep. A run's own tools are in that run's group instead.
 *
 * No group is made where no tool is started, and none is left. It needs no sentinel: whoever stops
 * everything while none lives starts one, and that one kills what is in the group.
 */
export function withinReach<T extends object>(home: string, services: T): T {
  const folder = join(home, "scram");
  let count = 0;
  const hold = <Result>(work: () => Result): Result => {
    const id = `${TOOLS_PREFIX}${process.pid}-${count++}`;
    let group: ControlGroups | null = null;
    // Asked for at each start: a sentinel that ends takes the empty ones with it.
    const place = (): ToolPlace => {
      // Without a data folder there is no kill switch, nor anybody who could give it an order.
      if (!existsSync(folder)) return { groups: [], marker: {} };
      const name = groupNameOf(folder);
      group = ControlGroups.root(name).child(id);
      return { groups: group.folders, marker: { [MARKER_VARIABLE]: `${name}/${id}` } };
    };
    const why = (): string | null => {
      const refusal = refusalAt(folder, NOBODY);
      return refusal === null ? null : `the kill switch is ${refusal.reason}`;
    };
    const scope = new ToolScope(place, why);
    const end = (): void => {
      scope.end();
      group?.remove();
    };
    return untilSettled(withTools(scope, false, work), end);
  };
  const held = Object.entries(services).map(([name, service]: [string, unknown]) => {
    if (typeof service !== "function") return [name, service];
    const call = service as (...args: unknown[]) => unknown;
    return [name, (...args: unknown[]) => hold(() => call.apply(services, args))];
  });
  return Object.fromEntries(held) as T;
}

function untilSettled<Result>(result: Result, end: () => void): Result {
  if (result instanceof Promise) return result.finally(end) as Result;
  end();
  return result;
}
