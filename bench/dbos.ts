/** What we use of DBOS Transact. */
interface Sdk {
  readonly DBOS: {
    setConfig(config: object): void;
    registerWorkflow<A extends unknown[], R>(
      work: (...args: A) => Promise<R>,
      config: { readonly name: string },
    ): (...args: A) => Promise<R>;
    runStep<R>(work: () => Promise<R>, config: { readonly name: string }): Promise<R>;
    launch(): Promise<void>;
    shutdown(): Promise<void>;
  };
}

/** DBOS with one workflow, of empty steps. */
export interface Dbos {
  /** Run the workflow. @returns how long each step took, in milliseconds */
  workflow(steps: number): Promise<number[]>;
  close(): Promise<void>;
}

/** Of the bench alone: nothing else is built against it, so its types are not needed to build. */
const PACKAGE: string = "@dbos-inc/dbos-sdk";

/** @param url of a database in which its role may make a schema */
export async function openDbos(url: string): Promise<Dbos> {
  const { DBOS } = (await import(PACKAGE)) as Sdk;
  // As many connections as one of our processes has.
  DBOS.setConfig({
    name: "bench",
    systemDatabaseUrl: url,
    systemDatabasePoolSize: 8,
    logLevel: "error",
  });
  const workflow = DBOS.registerWorkflow(
    async (steps: number) => {
      const took: number[] = [];
      for (let at = 0; at < steps; at++) {
        const began = performance.now();
        await DBOS.runStep(() => Promise.resolve(), { name: `step${at}` });
        took.push(performance.now() - began);
      }
      return took;
    },
    { name: "empty" },
  );
  await DBOS.launch();
  // It is no method: DBOS looks at what it is called on.
  return { workflow: (steps) => workflow(steps), close: () => DBOS.shutdown() };
}
