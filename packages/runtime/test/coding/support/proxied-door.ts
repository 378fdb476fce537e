import type { ModelBudget, ModelWire } from "@sovereign/core";
import {
  ScriptedModel,
  type ScriptedRequest,
  type ScriptedTurn,
} from "../../../../../examples/agent/scripted-model.ts";
import { ModelCallDesk, ModelProxy, proxyLimits } from "../../../src/agents/index.ts";
import type { ModelDoor } from "../../../src/coding/index.ts";
import { sha256 } from "@sovereign/core";
import {
  CANARY,
  deskOptions,
  HandGate,
  OWNER,
  type Recorded,
  TOKEN,
} from "../../support/model-rig.ts";

/** A scripted vendor behind our model proxy, whose desk records and counts. */
export class ProxiedDoor implements ModelDoor {
  readonly entries: Recorded[] = [];
  readonly gate = new HandGate();
  readonly #script: readonly ScriptedTurn[];
  readonly #about: { readonly wire: ModelWire; readonly model: string };
  readonly #budget: ModelBudget;
  vendor: ScriptedModel | null = null;

  constructor(
    script: readonly ScriptedTurn[],
    about: { readonly wire: ModelWire; readonly model: string },
    budget: ModelBudget,
  ) {
    this.#script = script;
    this.#about = about;
    this.#budget = budget;
  }

  async open(socket: string): ReturnType<ModelDoor["open"]> {
    const vendor = await ScriptedModel.start({ script: this.#script, key: CANARY });
    this.vendor = vendor;
    const desk = await ModelCallDesk.open(deskOptions(this, { budget: this.#budget }), null);
    const proxy = new ModelProxy({ gate: this.gate, limits: proxyLimits.parse({}) });
    await proxy.listen(socket);
    proxy.admit({
      owner: OWNER,
      tokenSha256: sha256(Buffer.from(TOKEN)),
      models: [this.#about.model],
      calls: desk,
      vendor: {
        name: "scripted",
        wires: [this.#about.wire],
        base: new URL(vendor.url),
        auth: "bearer",
        key: CANARY,
        outputField: "max_completion_tokens",
      },
    });
    return {
      token: TOKEN,
      refusal: () => desk.refusal,
      close: async () => {
        await proxy.close();
        await vendor.close();
      },
    };
  }

  requests(): readonly ScriptedRequest[] {
    return this.vendor?.requests ?? [];
  }

  /** The data of all entries of one event. */
  recorded(event: string): Recorded["data"][] {
    return this.entries.filter((one) => one.event_type === event).map(({ data }) => data);
  }
}
