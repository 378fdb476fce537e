import type { LedgerEntry } from "@sovereign/core";
import { EgressDesk, type EgressDoor, EgressProcess } from "../../agents/index.ts";
import { programCommand } from "../../home/index.ts";
import type { Installation } from "../../installation/index.ts";
import type { PolicyDecider } from "../../kernel/index.ts";
import { readRun } from "../../ledger/index.ts";
import type { RunSession } from "../../runs/index.ts";
import type { ScramLink } from "../../scram/index.ts";
import { systemEntropy } from "../../system/index.ts";

/** Whose connections these are. The session is there when a step is carried out. */
export interface EgressDoorOptions {
  readonly installation: Installation;
  readonly policy: PolicyDecider;
  readonly opened: () => { readonly session: RunSession; readonly scram: ScramLink };
}

/**
 * The way of one run to the hosts that its policy names: a proxy of its own for each step, on a socket
 * that the step's sandbox alone sees. Each connection is recorded before it is made.
 */
export function egressDoor({ installation, policy, opened }: EgressDoorOptions): EgressDoor {
  return {
    open: async (socket, context) => {
      const { session, scram } = opened();
      const { tenant_id, run_id } = context;
      const owner = { tenant_id, run_id };
      const desk = await EgressDesk.open(
        {
          context,
          policy,
          scram,
          record: (event, severity, data) => session.note(event, severity, data),
          entropy: systemEntropy,
        },
        entriesOf(installation, tenant_id, run_id),
      );
      const proxy = await EgressProcess.start({
        command: programCommand("egress"),
        home: installation.folder.root,
        socket,
        owner,
        desk,
        entropy: systemEntropy,
      });
      const stopWatching = scram.onStop(owner, ({ reason }) => {
        proxy.stop(reason);
      });
      return {
        token: proxy.token,
        refused: () => desk.lastRefused,
        close: async () => {
          stopWatching();
          await proxy.close();
        },
      };
    },
  };
}

/** Connections of a process that was killed have no end yet. */
async function* entriesOf(
  { store }: Installation,
  tenant: string,
  run: string,
): AsyncGenerator<LedgerEntry> {
  for await (const { entry } of readRun(store, tenant, run)) yield entry;
}
