import { digestOf, type JsonObject } from "@sovereign/core";
import type { Forgery } from "../../packages/runtime/test/support/forger.ts";

/** What a forger must have had: nothing, the two keys that seal and head, or every key. */
export type Held = "nothing" | "checkpoint and seal" | "all keys";

export interface Row {
  readonly name: string;
  readonly held: Held;
  readonly base: "pipeline" | "execution" | "compatible";
  readonly verdict: "VALID" | "INVALID" | "INCOMPLETE" | "UNTRUSTED_KEY";
  readonly make: (forgery: Forgery) => Promise<void> | void;
}

type Make = Row["make"];

const nothing = (name: string, make: Make, verdict: Row["verdict"] = "INVALID"): Row => ({
  name,
  held: "nothing",
  base: "pipeline",
  verdict,
  make,
});

/** Changed, and then made to fit again by the keys that head and seal. */
const sealed = (name: string, make: Make, base: Row["base"] = "pipeline"): Row => ({
  name,
  held: "checkpoint and seal",
  base,
  verdict: "INVALID",
  make: async (forgery) => {
    await make(forgery);
    await forgery.rebuild();
  },
});

const all = (name: string, make: Make, base: Row["base"] = "pipeline"): Row => ({
  ...sealed(name, make, base),
  held: "all keys",
});

function edit(forgery: Forgery, event: string, change: (data: JsonObject) => void, nth = 0): void {
  const { entry } = forgery.entry(event, nth);
  entry.data = structuredClone(entry.data);
  change(entry.data);
}

const inside = (data: JsonObject, name: string): JsonObject => data[name] as JsonObject;

/** Without any key: everything that can be counted, hashed and chained again is. */
export const WITHOUT_KEYS: readonly Row[] = [
  nothing("an entry edited", (one) => {
    edit(one, "execution.completed", (data) => (data["output"] = "better"));
    one.recount();
  }),
  nothing("an entry edited, all made to fit", (one) => {
    edit(one, "execution.completed", (data) => (data["output"] = "better"));
    one.rechain();
    one.remanifest();
  }),
  nothing("an entry dropped", (one) => {
    one.bundle.entries.splice(3, 1);
    one.remanifest();
  }),
  nothing("an entry dropped, chained again", (one) => {
    one.bundle.entries.splice(3, 1);
    one.rechain();
    one.remanifest();
  }),
  nothing("two entries swapped", (one) => {
    one.bundle.entries.splice(2, 2, one.at(3), one.at(2));
    one.remanifest();
  }),
  nothing("an entry twice", (one) => {
    one.bundle.entries.splice(3, 0, structuredClone(one.at(3)));
    one.remanifest();
  }),
  nothing(
    "its end cut off",
    (one) => {
      one.bundle.entries = one.bundle.entries.slice(0, 3);
      one.bundle.artifacts = one.bundle.artifacts.slice(0, 1);
      one.remanifest();
    },
    "INVALID",
  ),
  nothing("a count of the manifest", (one) => {
    one.bundle.manifest.counts.entries += 1;
  }),
  nothing("a digest of the manifest", (one) => {
    one.bundle.manifest.sections.artifacts = "0".repeat(64);
  }),
  nothing("another run in the manifest", (one) => {
    one.bundle.manifest.run_id = `run_${"b".repeat(20)}`;
  }),
  nothing("another tenant in the manifest", (one) => {
    one.bundle.manifest.tenant_id = "other";
  }),
  nothing("another installation in the manifest", (one) => {
    one.bundle.manifest.installation_id = `ins_${"b".repeat(20)}`;
  }),
  nothing("the mode in the manifest", (one) => {
    one.bundle.manifest.mode = "compatible";
  }),
  nothing("two signatures swapped", (one) => {
    const at = one.entry("execution.authorized");
    const [role, binding] = [one.envelope(at, "role"), one.envelope(at, "binding")];
    [role.signatures, binding.signatures] = [binding.signatures, role.signatures];
    one.recount();
  }),
  nothing("an envelope left out", (one) => {
    const digest = Object.keys(one.bundle.envelopes)[0] ?? "";
    one.bundle.envelopes = Object.fromEntries(
      Object.entries(one.bundle.envelopes).filter(([name]) => name !== digest),
    );
    one.recount();
  }),
  nothing("an envelope that nothing names", (one) => {
    one.bundle.envelopes["f".repeat(64)] = one.envelope(one.at(0), "config_snapshot");
    one.recount();
  }),
  nothing("an artifact left out", (one) => {
    one.bundle.artifacts.pop();
    one.recount();
  }),
  nothing("an artifact's digest", (one) => {
    const [first] = one.bundle.artifacts;
    if (first !== undefined) first.sha256 = "9".repeat(64);
    one.recount();
  }),
  nothing("the key log shortened", (one) => {
    one.bundle.key_log.pop();
    one.remanifest();
  }),
  nothing("a hash of the key log", (one) => {
    const last = one.bundle.key_log.at(-1);
    if (last !== undefined) last.hash = "9".repeat(64);
    one.recount();
  }),
  nothing("the head of the other log", (one) => {
    one.bundle.logs.tenant.checkpoint = one.bundle.logs.installation.checkpoint;
    one.recount();
  }),
  nothing("a head without its proof", (one) => {
    one.bundle.logs.tenant.proof = [];
    one.recount();
  }),
  nothing("the size in a head", (one) => {
    const { tenant } = one.bundle.logs;
    const lines = tenant.checkpoint.split("\n");
    lines[1] = String(Number(lines[1]) + 1);
    tenant.checkpoint = lines.join("\n");
    one.recount();
  }),
];

/** With the keys that seal and head: what others signed cannot be changed, left out or used again. */
export const WITH_SEAL: readonly Row[] = [
  sealed("an output edited that a proof was signed over", (one) => {
    edit(
      one,
      "execution.completed",
      (data) => (data["output"] = { ...inside(data, "output"), restored_bytes: 4 }),
      5,
    );
  }),
  sealed("run.admitted twice", (one) => {
    one.bundle.entries.splice(1, 0, structuredClone(one.at(0)));
  }),
  sealed("run.sealed twice", (one) => {
    one.bundle.entries.push(structuredClone(one.at(-1)));
  }),
  sealed("an entry of no known event of ours", (one) => {
    one.entry("execution.pending").entry.event_type = "execution.forgiven";
  }),
  sealed("an unknown event that names an envelope", (one) => {
    const { entry } = one.entry("execution.pending");
    entry.event_type = "bench.noted";
    entry.data = { envelopes: { proof: "1".repeat(64) } };
  }),
  sealed("a field more in an outcome", (one) => {
    edit(one, "execution.completed", (data) => (data["note"] = "x"));
  }),
  sealed("a field less in an authorisation", (one) => {
    edit(one, "execution.authorized", (data) => delete data["context"]);
  }),
  sealed("an entry of more than 65,535 bytes", (one) => {
    const { entry } = one.entry("execution.pending");
    entry.event_type = "bench.noted";
    entry.data = { text: "x".repeat(66_000) };
  }),
  sealed("an output of more than 24 KiB", (one) => {
    edit(one, "execution.completed", (data) => (data["output"] = "x".repeat(25_000)));
  }),
  sealed("the key log's head at the beginning", (one) => {
    edit(one, "run.admitted", (data) => (inside(data, "key_log")["head"] = "9".repeat(64)));
  }),
  sealed("another policy at the beginning", (one) => {
    edit(one, "run.admitted", (data) => (data["policy_digest"] = "9".repeat(64)));
  }),
  sealed("another plan at the beginning", (one) => {
    edit(one, "run.admitted", (data) => (data["plan_digest"] = "9".repeat(64)));
  }),
  sealed("another configuration at the beginning", (one) => {
    edit(one, "run.admitted", (data) => (data["config_digest"] = "9".repeat(64)));
  }),
  sealed("the action of an authorisation", (one) => {
    edit(one, "execution.authorized", (data) => (inside(data, "action")["resource"] = "other"));
  }),
  sealed("the decision of an authorisation", (one) => {
    edit(one, "execution.authorized", (data) => (inside(data, "decision")["rules"] = ["other"]));
  }),
  sealed("an authorisation without its binding", (one) => {
    edit(one, "execution.authorized", (data) => delete inside(data, "envelopes")["binding"]);
  }),
  sealed("an authorisation without its role", (one) => {
    edit(one, "execution.authorized", (data) => delete inside(data, "envelopes")["role"]);
  }),
  sealed("an authorisation with the binding of another action", (one) => {
    const other = one.envelope(one.entry("execution.authorized", 1), "binding");
    one.put(one.entry("execution.authorized"), "binding", other);
  }),
  sealed("an action that ran twice on one authorisation", (one) => {
    const [begun, ended] = [one.at(1), one.at(2)];
    one.bundle.entries.splice(3, 0, structuredClone(begun), structuredClone(ended));
  }),
  sealed("an outcome without its authorisation", (one) => {
    one.bundle.entries.splice(1, 1);
  }),
  sealed("an outcome twice", (one) => {
    one.bundle.entries.splice(3, 0, structuredClone(one.at(2)));
  }),
  sealed("an approval left out", (one) => {
    edit(one, "execution.authorized", (data) => delete inside(data, "envelopes")["approval_2"], 1);
  }),
  sealed("all approvals left out", (one) => {
    edit(
      one,
      "execution.authorized",
      (data) => {
        delete inside(data, "envelopes")["approval_1"];
        delete inside(data, "envelopes")["approval_2"];
      },
      1,
    );
  }),
  sealed("one approval under two names", (one) => {
    const step = one.entry("execution.authorized", 1);
    one.put(step, "approval_2", one.envelope(step, "approval_1"));
  }),
  sealed("an approval that was not asked for", (one) => {
    const approval = one.envelope(one.entry("execution.authorized", 1), "approval_1");
    one.put(one.entry("execution.authorized"), "approval_1", approval);
  }),
  sealed("an envelope of a name that has no place", (one) => {
    const approval = one.envelope(one.entry("execution.authorized", 1), "approval_1");
    one.put(one.entry("execution.authorized", 1), "witness", approval);
  }),
  sealed("a key epoch that goes back", (one) => {
    edit(one, "execution.authorized", (data) => (data["key_epoch"] = 0), 1);
  }),
  sealed("a key epoch beyond the key log", (one) => {
    edit(one, "execution.authorized", (data) => (data["key_epoch"] = 999));
  }),
  sealed("a voter left out of the electorate", (one) => {
    edit(one, "consensus.reached", (data) => {
      Object.assign(data, { electorate: ["trainer"], quorum: 1, approvals: ["trainer"] });
    });
  }),
  sealed("a quorum that is too small", (one) => {
    edit(one, "consensus.reached", (data) => (data["quorum"] = 1));
  }),
  sealed("approvals that nobody gave", (one) => {
    edit(one, "consensus.reached", (data) => (data["approvals"] = ["deployer"]));
  }),
  sealed("claims that no quorum made", (one) => {
    edit(one, "consensus.reached", (data) => (data["claims"] = { accuracy: 0.1 }));
  }),
  sealed("consensus that is said to have failed", (one) => {
    one.entry("consensus.reached").entry.event_type = "consensus.failed";
  }),
  sealed("a fault that nobody committed", (one) => {
    edit(one, "consensus.reached", (data) => {
      const fault = { role: "trainer", key_ids: [], envelopes: [], kind: "equivocation" };
      data["faulty"] = [{ ...fault, differs: [] }];
    });
  }),
  sealed("a vote left out, and its voter silent", (one) => {
    edit(one, "attestation.issued", (data) => delete inside(data, "envelopes")["vote_2"]);
  }),
  sealed("a vote counted twice", (one) => {
    const votes = one.entry("attestation.issued");
    one.put(votes, "vote_3", one.envelope(votes, "vote_1"));
  }),
  sealed("votes of another ballot", (one) => {
    edit(one, "attestation.issued", (data) => (data["ballot"] = "other"));
  }),
  sealed("a voter whose entries are left out", (one) => {
    const isOther = (data: JsonObject): boolean =>
      JSON.stringify(data).includes('"ballot.deployer"');
    one.bundle.entries = one.bundle.entries.filter(({ entry }) => !isOther(entry.data));
    edit(one, "attestation.issued", (data) => delete inside(data, "envelopes")["vote_2"]);
    edit(one, "consensus.reached", (data) => {
      Object.assign(data, { electorate: ["trainer"], quorum: 1, approvals: ["trainer"] });
    });
  }),
  sealed("the stage of a provenance", (one) => {
    edit(one, "attestation.issued", (data) => (data["stage"] = "train"), 1);
  }),
  sealed("the type of an attestation", (one) => {
    edit(one, "attestation.issued", (data) => (data["predicate_type"] = "urn:other"), 1);
  }),
  sealed("a file twice with two digests", (one) => {
    edit(
      one,
      "execution.completed",
      (data) => {
        const artifacts = data["artifacts"] as JsonObject[];
        if (artifacts[0] !== undefined) artifacts[0]["name"] = "model.json";
      },
      4,
    );
  }),
  sealed(
    "the gates' receipt left out",
    (one) => {
      const last = one.bundle.entries.length - 2;
      one.bundle.entries.splice(last, 1);
    },
    "execution",
  ),
  sealed(
    "the gates' status in the entry",
    (one) => {
      edit(one, "attestation.issued", (data) => (data["status"] = "FAIL"), 1);
    },
    "execution",
  ),
  sealed(
    "a document in place of the one that was judged",
    (one) => {
      const text = Buffer.from('{"open_questions":[]}');
      edit(one, "evidence.recorded", (data) => {
        const artifacts = data["artifacts"] as JsonObject[];
        if (artifacts[0] !== undefined) artifacts[0]["sha256"] = "9".repeat(64);
      });
      const document = one.bundle.artifacts.find((file) => file.content !== undefined);
      if (document !== undefined) document.content = text.toString("base64");
    },
    "execution",
  ),
  sealed(
    "a signature in a compatible run",
    (one) => {
      const snapshot = one.envelope(one.at(0), "config_snapshot");
      one.put(one.entry("execution.authorized"), "role", snapshot);
    },
    "compatible",
  ),
];

/** With every key: rules that hold whoever signs. */
export const WITH_ALL_KEYS: readonly Row[] = [
  ...(
    [
      ["run.admitted", 0, "config_snapshot", ["config", null]],
      ["execution.authorized", 0, "role", ["role", "trainer"]],
      ["execution.authorized", 0, "binding", ["binding", null]],
      ["execution.authorized", 1, "approval_1", ["approval", "release_manager"]],
      ["attestation.issued", 0, "vote_1", ["role", "trainer"]],
      ["attestation.issued", 1, "provenance", ["attestation", null]],
      ["attestation.issued", 2, "proof", ["attestation", null]],
    ] as const
  ).flatMap(([event, nth, name, by]): Row[] => [
    all(`${name}: another payload type`, async (one) => {
      await one.resign(one.entry(event, nth), name, () => undefined, by, "application/json");
    }),
    all(`${name}: the subject of something else`, async (one) => {
      await one.resign(
        one.entry(event, nth),
        name,
        ({ subject }) => {
          if (subject[0] !== undefined) subject[0].digest.sha256 = "8".repeat(64);
        },
        by,
      );
    }),
    all(`${name}: a subject more`, async (one) => {
      await one.resign(
        one.entry(event, nth),
        name,
        ({ subject }) => {
          subject.push({ name: "x", digest: { sha256: "0".repeat(64) } });
        },
        by,
      );
    }),
    all(`${name}: by the key of another purpose`, async (one) => {
      await one.resign(one.entry(event, nth), name, () => undefined, ["seal", null]);
    }),
    all(`${name}: a second signature beside it`, (one) => {
      const entry = one.entry(event, nth);
      const envelope = structuredClone(one.envelope(entry, name));
      const [first] = envelope.signatures;
      if (first !== undefined) envelope.signatures.push(first);
      one.put(entry, name, envelope);
    }),
  ]),
  all("a binding for another decision", async (one) => {
    await one.resign(
      one.entry("execution.authorized"),
      "binding",
      ({ predicate }) => (inside(predicate, "decision")["rules"] = ["other"]),
      ["binding", null],
    );
  }),
  ...(["tenant_id", "run_id", "policy_digest", "context_digest"] as const).map((field) =>
    all(`a binding of another ${field}`, async (one) => {
      const other = { tenant_id: "other", run_id: `run_${"b".repeat(20)}` };
      await one.resign(
        one.entry("execution.authorized"),
        "binding",
        ({ predicate }) => {
          predicate[field] = field in other ? other[field as "run_id"] : "9".repeat(64);
        },
        ["binding", null],
      );
    }),
  ),
  all("a binding that has expired", async (one) => {
    await one.resign(
      one.entry("execution.authorized"),
      "binding",
      ({ predicate }) => (predicate["expires_at"] = "2020-01-01T00:00:00.000Z"),
      ["binding", null],
    );
  }),
  all("a nonce used twice", async (one) => {
    const { predicate: first } = one.statement(one.entry("execution.authorized"), "binding");
    await one.resign(
      one.entry("execution.authorized", 1),
      "binding",
      ({ predicate }) => (predicate["nonce"] = (first as JsonObject)["nonce"] ?? ""),
      ["binding", null],
    );
  }),
  all("the role signature of another role", async (one) => {
    await one.resign(
      one.entry("execution.authorized"),
      "role",
      ({ predicate }) => (predicate["role"] = "deployer"),
      ["role", "deployer"],
    );
  }),
  all("one holder who approves twice", async (one) => {
    await one.resign(
      one.entry("execution.authorized", 1),
      "approval_2",
      ({ predicate }) => (predicate["approver"] = "release_manager"),
      ["approval", "release_manager"],
    );
  }),
  all("an approver whom policy does not name", async (one) => {
    await one.resign(
      one.entry("execution.authorized", 1),
      "approval_2",
      ({ predicate }) => (predicate["approver"] = "stranger"),
      ["approval", "stranger"],
    );
  }),
  ...(
    [
      ["allow without a rule", { rules: [] }],
      ["allow with approvals", { approvals: { required: 1, roles: ["release_manager"] } }],
      ["a step-up without approvals", { effect: "step_up" }],
      ["a denial", { effect: "deny" }],
      ["the request of another action", { request_digest: "9".repeat(64) }],
      ["another policy", { policy_digest: "9".repeat(64) }],
    ] as const
  ).map(([name, change]) =>
    all(`a decision: ${name}`, async (one) => {
      edit(one, "execution.authorized", (data) => {
        data["decision"] = {
          ...inside(data, "decision"),
          ...structuredClone(change),
        } as JsonObject;
      });
      const { data } = one.entry("execution.authorized").entry;
      await one.resign(
        one.entry("execution.authorized"),
        "binding",
        ({ predicate }) => {
          predicate["decision"] = data["decision"] ?? null;
          const { policy_digest: policy } = inside(data, "decision");
          predicate["policy_digest"] = policy ?? null;
        },
        ["binding", null],
      );
    }),
  ),
  all("an action of more than 24 KiB", (one) => {
    edit(one, "execution.authorized", (data) => {
      inside(inside(data, "action"), "params")["x"] = "x".repeat(25_000);
    });
  }),
  all("a snapshot of another configuration", async (one) => {
    await one.resign(
      one.at(0),
      "config_snapshot",
      ({ predicate }) => (predicate["config"] = { seed: 2 }),
      ["config", null],
    );
  }),
  all("a snapshot without the ballot that was held", async (one) => {
    await one.resign(one.at(0), "config_snapshot", ({ predicate }) => (predicate["ballots"] = {}), [
      "config",
      null,
    ]);
  }),
  all("an electorate of others in the snapshot", async (one) => {
    await one.resign(
      one.at(0),
      "config_snapshot",
      ({ predicate }) => {
        predicate["ballots"] = { ballot: { electorate: ["trainer"], acceptance: null } };
      },
      ["config", null],
    );
  }),
  all("a vote of another run", async (one) => {
    await one.resign(
      one.entry("attestation.issued"),
      "vote_1",
      ({ predicate }) => (predicate["run_id"] = `run_${"b".repeat(20)}`),
      ["role", "trainer"],
    );
  }),
  all("a vote that no agent wrote", async (one) => {
    await one.resign(
      one.entry("attestation.issued"),
      "vote_1",
      ({ predicate, subject }) => {
        predicate["output_digest"] = "9".repeat(64);
        if (subject[0] !== undefined) subject[0].digest.sha256 = "9".repeat(64);
      },
      ["role", "trainer"],
    );
  }),
  all("votes that differ, and are said to agree", async (one) => {
    await one.resign(
      one.entry("attestation.issued"),
      "vote_1",
      ({ predicate }) => (predicate["claims"] = { accuracy: 0.5 }),
      ["role", "trainer"],
    );
  }),
  all("one agent that votes for two", async (one) => {
    await one.resign(
      one.entry("attestation.issued"),
      "vote_2",
      ({ predicate }) => (predicate["role"] = "trainer"),
      ["role", "trainer"],
    );
  }),
  ...(
    [
      ["parameters", (build: JsonObject) => (build["externalParameters"] = { seed: 8 })],
      ["inputs", (build: JsonObject) => (build["resolvedDependencies"] = [])],
    ] as const
  ).map(([name, change]) =>
    all(`a provenance with other ${name}`, async (one) => {
      await one.resign(
        one.entry("attestation.issued", 1),
        "provenance",
        ({ predicate }) => change(inside(predicate, "buildDefinition")),
        ["attestation", null],
      );
    }),
  ),
  all("a provenance of another run", async (one) => {
    await one.resign(
      one.entry("attestation.issued", 1),
      "provenance",
      ({ predicate }) => {
        const metadata = inside(inside(predicate, "runDetails"), "metadata");
        metadata["invocationId"] = `run_${"b".repeat(20)}/again`;
      },
      ["attestation", null],
    );
  }),
  all("a rollback's proof that the rollback did not give", async (one) => {
    await one.resign(
      one.entry("attestation.issued", 2),
      "proof",
      ({ predicate }) => (predicate["restored_bytes"] = 4),
      ["attestation", null],
    );
  }),
  ...(["status", "tenant_id", "run_id", "mode", "root", "plan_digest", "count"] as const).map(
    (field): Row => ({
      name: `a seal of another ${field}`,
      held: "all keys",
      base: "pipeline",
      verdict: "INVALID",
      make: async (one) => {
        const other = { status: "failed", tenant_id: "other", mode: "compatible", count: 3 };
        await one.reseal((proof) => {
          if (field === "run_id") proof[field] = `run_${"b".repeat(20)}`;
          else proof[field] = field in other ? other[field as "count"] : "9".repeat(64);
        });
        await one.rehead();
        one.remanifest();
      },
    }),
  ),
  all(
    "a receipt that says PASS over other results",
    async (one) => {
      await one.resign(
        one.entry("attestation.issued", 1),
        "receipt",
        ({ predicate, subject }) => {
          const results = predicate["results"] as JsonObject[];
          if (results[0] !== undefined) results[0]["verdict"] = "pass";
          if (subject[0] !== undefined) subject[0].digest.sha256 = digestOf(results);
        },
        ["attestation", null],
      );
    },
    "execution",
  ),
  all(
    "a receipt that leaves a document out",
    async (one) => {
      await one.resign(
        one.entry("attestation.issued", 1),
        "receipt",
        ({ predicate }) => (predicate["inputs"] = {}),
        ["attestation", null],
      );
    },
    "execution",
  ),
];

/** With the root key, and so with every key: what the key log may say. */
export const WITH_ROOT: readonly Row[] = [
  all("a key event of another payload type", async (one) => {
    await one.appendKeyEvent("revoked", () => undefined, "application/json");
  }),
  all("a key event about another key", async (one) => {
    await one.appendKeyEvent("revoked", ({ subject }) => {
      if (subject[0] !== undefined) subject[0].digest.sha256 = "8".repeat(64);
    });
  }),
  all("a key event of another installation", async (one) => {
    await one.appendKeyEvent("revoked", ({ predicate }) => {
      predicate["installation_id"] = `ins_${"b".repeat(20)}`;
    });
  }),
  all("a key event out of its turn", async (one) => {
    await one.appendKeyEvent("revoked", ({ predicate }) => (predicate["sequence"] = 3));
  }),
  all("a key event that its entry calls another", async (one) => {
    await one.appendKeyEvent("revoked", ({ predicate }) => (predicate["event"] = "rotated"));
  }),
  all("a revocation with another record of the key", async (one) => {
    await one.appendKeyEvent("revoked", ({ predicate }) => {
      inside(predicate, "key")["not_after"] = "2020-01-01T00:00:00.000Z";
    });
  }),
  all("an introduction that distrusts", async (one) => {
    await one.appendKeyEvent("introduced", ({ predicate }) => (predicate["distrust_all"] = true));
  }),
  all("an introduction of a key that is there", async (one) => {
    await one.appendKeyEvent("introduced", () => undefined);
  }),
  {
    ...all("a distrusted key in the bundle's own log", async (one) => {
      await one.appendKeyEvent("revoked", ({ predicate }) => (predicate["distrust_all"] = true));
    }),
    verdict: "UNTRUSTED_KEY",
  },
];

/** What nobody can find out: the specification says so of each, and why. */
export const UNDETECTABLE: readonly Row[] = [
  {
    ...sealed("an output that nothing else was signed over", (one) => {
      edit(one, "execution.completed", (data) => (data["output"] = "better"));
    }),
    verdict: "VALID",
  },
  {
    ...sealed("a refusal left out", (one) => {
      const at = one.bundle.entries.indexOf(one.entry("execution.pending"));
      one.bundle.entries.splice(at, 1);
    }),
    verdict: "VALID",
  },
  {
    ...all("another decision, signed by the authority's key", async (one) => {
      edit(one, "execution.authorized", (data) => (inside(data, "decision")["rules"] = ["other"]));
      const { data } = one.entry("execution.authorized").entry;
      await one.resign(
        one.entry("execution.authorized"),
        "binding",
        ({ predicate }) => (predicate["decision"] = data["decision"] ?? null),
        ["binding", null],
      );
    }),
    verdict: "VALID",
  },
];
