import { join } from "node:path";
import { type LedgerEntry, SovereignError } from "@sovereign/core";
import { ModelCallDesk, ModelProxyProcess, VendorStore } from "../../agents/index.ts";
import { type ModelDoor, OWN_MODEL } from "../../coding/index.ts";
import { type Environment, passphraseOf, programCommand } from "../../home/index.ts";
import type { Installation } from "../../installation/index.ts";
import { readRun } from "../../ledger/index.ts";
import { systemEntropy } from "../../system/index.ts";
import type { ModelRun } from "./agent-kind.ts";

/** The model of one run, and whose model it is. */
export interface DoorOptions extends ModelRun {
  readonly installation: Installation;
  readonly environment: Environment;
  /** Null for the one that is set up. */
  readonly vendor: string | null;
}

type OpenDoor = Awaited<ReturnType<ModelDoor["open"]>>;

/** A way to a model that says what was spent by it. */
export interface CountedDoor {
  /** @see ModelDoor */
  open(
    socket: string,
  ): Promise<OpenDoor & { spent(): { readonly microusd: number; readonly tokens: number } }>;
}

/**
 * The way to a model: a proxy that holds the vendor's key, on a socket that the run's sandbox alone
 * sees. What a call may cost is recorded before it is made, and what it did cost after it.
 */
export function modelDoor(options: DoorOptions): CountedDoor {
  const { installation, environment } = options;
  return {
    open: async (socket) => {
      const home = installation.folder.root;
      const vendors = new VendorStore(join(home, "models"), passphraseOf(environment));
      const vendor = vendorOf(vendors, options);
      const desk = await openDesk(options, vendors);
      const before = { ...desk.totals };
      const proxy = await ModelProxyProcess.start({
        command: programCommand("model-proxy"),
        home,
        socket,
        environment,
        entropy: systemEntropy,
      });
      const { tenant_id, run_id } = options.context;
      const owner = { tenant_id, run_id };
      const stopWatching = options.scram().onStop(owner, ({ reason }) => {
        proxy.stop(reason);
      });
      const close = async (): Promise<void> => {
        stopWatching();
        await proxy.close();
      };
      try {
        const grant = await proxy.admit({
          owner,
          vendor,
          models: options.model === OWN_MODEL ? [] : [options.model],
          calls: desk,
        });
        return {
          token: grant.token,
          refusal: () => desk.refusal,
          spent: () => ({
            microusd: desk.totals.microusd - before.microusd,
            tokens: desk.totals.tokens - before.tokens,
          }),
          close: async () => {
            await grant.end();
            await close();
          },
        };
      } catch (error) {
        await close();
        throw error;
      }
    },
  };
}

function openDesk(options: DoorOptions, vendors: VendorStore): Promise<ModelCallDesk> {
  const { installation, context, policy, session, scram, budgetMicrousd, turnsMax } = options;
  const { store, clock } = installation;
  return ModelCallDesk.open(
    {
      context,
      budget: {
        microusd: budgetMicrousd,
        tokens: null,
        ...(turnsMax === null ? {} : { turns: turnsMax }),
      },
      policy,
      scram: scram(),
      record: (event, severity, data) => session().note(event, severity, data),
      clock,
      entropy: systemEntropy,
      pricing: (name) => {
        const { provider, price } = vendors.report(name);
        return { provider, own: price };
      },
    },
    entriesOf(store, context),
  );
}

/** What earlier attempts of the run used counts, too. */
async function* entriesOf(
  store: Installation["store"],
  { tenant_id: tenant, run_id: run }: DoorOptions["context"],
): AsyncGenerator<LedgerEntry> {
  for await (const { entry } of readRun(store, tenant, run)) yield entry;
}

/** @throws ERR_MODEL_VENDOR_UNKNOWN */
function vendorOf(vendors: VendorStore, { vendor, wire }: DoorOptions): string {
  const named = vendor === null ? vendors.list() : [vendors.report(vendor)];
  const names = named
    .filter(({ wires }) => wire === null || wires.includes(wire))
    .map((one) => one.name);
  const [only, ...others] = names;
  if (only !== undefined && others.length === 0) return only;
  const found = names.length === 0 ? "none is set up" : `there are ${names.join(", ")}`;
  const speaks = wire === null ? "" : ` of a vendor that speaks ${wire}, as the agent does`;
  const text = `Expected --vendor NAME${speaks}: ${found}. Type: sovereign models add --help`;
  throw new SovereignError("ERR_MODEL_VENDOR_UNKNOWN", text);
}
