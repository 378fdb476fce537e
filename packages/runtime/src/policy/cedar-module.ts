import { createRequire } from "node:module";
import type * as Cedar from "@cedar-policy/cedar-wasm/nodejs";
import { refuseOtherJson } from "../system/index.ts";

const require = createRequire(import.meta.url);
const NAME = "@cedar-policy/cedar-wasm/nodejs";

/** Policies by id, in Cedar's own JSON form: nothing is ever pasted into policy text. */
export type CedarPolicies = Readonly<Record<string, Cedar.PolicyJson>>;

type Module = typeof Cedar;

/**
 * Cedar's WebAssembly module, replaced when it breaks. An exception out of it can leave it in a
 * state in which each later call fails, whatever it is about; so after one there is a new module,
 * and what was prepared in the old one is prepared again when it is next asked for.
 */
export class CedarModule {
  readonly #schemaName: string;
  readonly #schema: string;
  /** Every policy set that was prepared in this process, by digest. */
  readonly #known = new Map<string, CedarPolicies>();
  /** Those that the present module has. */
  readonly #prepared = new Set<string>();
  #module: Module | null = null;

  constructor(schemaName: string, schema: string) {
    this.#schemaName = schemaName;
    this.#schema = schema;
  }

  /** @throws what the module throws, and is then replaced; or why it can be asked nothing */
  use<T>(work: (module: Module) => T): T {
    // It is asked in JSON, which the platform writes.
    refuseOtherJson();
    this.#module ??= this.#load();
    try {
      return work(this.#module);
    } catch (error) {
      this.#module = null;
      throw error;
    }
  }

  /** @returns what is wrong with the policies; null when they can be asked */
  prepare(digest: string, policies: CedarPolicies): readonly { message: string }[] | null {
    const answer = this.use((module) =>
      module.preparsePolicySet(digest, { staticPolicies: { ...policies } }),
    );
    if (answer.type === "failure") return answer.errors;
    this.#known.set(digest, policies);
    this.#prepared.add(digest);
    return null;
  }

  ask(digest: string, call: Cedar.StatefulAuthorizationCall): Cedar.AuthorizationAnswer {
    return this.use((module) => {
      const policies = this.#known.get(digest);
      if (!this.#prepared.has(digest) && policies !== undefined) {
        module.preparsePolicySet(digest, { staticPolicies: { ...policies } });
        this.#prepared.add(digest);
      }
      return module.statefulIsAuthorized(call);
    });
  }

  #load(): Module {
    this.#prepared.clear();
    // A module that was loaded before is only had anew when nothing remembers it.
    Reflect.deleteProperty(require.cache, require.resolve(NAME));
    const module = require(NAME) as Module;
    module.preparseSchema(this.#schemaName, this.#schema);
    return module;
  }
}
