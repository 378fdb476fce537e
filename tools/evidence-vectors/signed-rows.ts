import { digestOf, type JsonObject, type KeyPurpose } from "@sovereign/core";
import { all, edit, inside, type Row, sealed } from "./row.ts";

/** What no kind of statement may be, whoever signs it. */
function statementRows(
  event: string,
  nth: number,
  name: string,
  by: readonly [KeyPurpose, string | null],
): Row[] {
  return [
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
  ];
}

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
      ["attestation.issued", 1, "receipt", ["attestation", null]],
    ] as const
  ).flatMap(([event, nth, name, by]): Row[] => {
    const base = name === "receipt" ? "execution" : "pipeline";
    return statementRows(event, nth, name, by).map((row) => ({ ...row, base }));
  }),
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
    "a receipt of another run",
    async (one) => {
      await one.resign(
        one.entry("attestation.issued", 1),
        "receipt",
        ({ predicate, subject }) => {
          predicate["run_id"] = `run_${"b".repeat(20)}`;
          if (subject[0] !== undefined) subject[0].name = `run_${"b".repeat(20)}`;
        },
        ["attestation", null],
      );
    },
    "execution",
  ),
  all(
    "a receipt that says FAIL over results that pass",
    async (one) => {
      await one.resign(
        one.entry("attestation.issued", 1),
        "receipt",
        ({ predicate }) => (predicate["status"] = "FAIL"),
        ["attestation", null],
      );
    },
    "execution",
  ),
  all(
    "a receipt that leaves a gate out",
    async (one) => {
      await one.resign(
        one.entry("attestation.issued", 1),
        "receipt",
        ({ predicate, subject }) => {
          const results = (predicate["results"] as JsonObject[]).slice(1);
          predicate["results"] = results;
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
    ...all(
      "a receipt that names another time of its judgement",
      async (one) => {
        await one.resign(
          one.entry("attestation.issued", 1),
          "receipt",
          ({ predicate }) => (predicate["evaluated_at"] = "2020-01-01T00:00:00.000Z"),
          ["attestation", null],
        );
      },
      "execution",
    ),
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
