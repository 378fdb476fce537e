import type { JsonObject } from "@sovereign/core";
import { edit, inside, nothing, type Row, sealed } from "./row.ts";

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
    "the gates' receipt issued twice",
    (one) => {
      const last = one.bundle.entries.length - 2;
      one.bundle.entries.splice(last, 0, structuredClone(one.at(last)));
    },
    "execution",
  ),
  sealed("votes issued twice", (one) => {
    const votes = one.entry("attestation.issued");
    one.bundle.entries.splice(one.bundle.entries.indexOf(votes), 0, structuredClone(votes));
  }),
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
  sealed(
    "a killed action that is said to be another",
    (one) => {
      edit(one, "execution.killed", (data) => (data["action_digest"] = "9".repeat(64)));
    },
    "stopped",
  ),
  sealed(
    "a killed attempt that was never begun",
    (one) => {
      edit(one, "execution.killed", (data) => (data["attempt"] = 2));
    },
    "stopped",
  ),
  sealed(
    "an action that was killed and completed",
    (one) => {
      const at = one.bundle.entries.indexOf(one.entry("execution.killed"));
      const { entry } = one.at(at);
      const { action_digest, attempt, step_id } = entry.data;
      const usage = { wall_ms: 1, output_bytes: 0 };
      const done = { action_digest, attempt, step_id, output: null, artifacts: [], usage };
      const event_type = "execution.completed";
      const more = { ...entry, event_type, severity: "INFO" as const, data: done as JsonObject };
      one.bundle.entries.splice(at + 1, 0, { ...one.at(at), entry: more });
    },
    "stopped",
  ),
  sealed(
    "a run taken up again before it was admitted",
    (one) => {
      const [moved] = one.bundle.entries.splice(
        one.bundle.entries.indexOf(one.entry("run.resumed")),
        1,
      );
      if (moved !== undefined) one.bundle.entries.unshift(moved);
    },
    "stopped",
  ),
  sealed(
    "envelopes beside an event that names none",
    (one) => {
      edit(one, "run.suspended", (data) => (data["envelopes"] = []));
    },
    "stopped",
  ),
];
