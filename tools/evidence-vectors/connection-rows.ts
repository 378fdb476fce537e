import { digestOf, type EntryData, type JsonObject } from "@sovereign/core";
import type { Forgery } from "../../packages/runtime/test/support/forger.ts";
import { edit, type Row, sealed } from "./row.ts";

type Connected = EntryData<"egress.connected">;

/** Nothing of a connection is signed by itself: whoever seals and heads can tell it otherwise. */
const told = (what: string, make: (forgery: Forgery) => void): Row =>
  sealed(`a connection of a goal's step ${what}`, make, "connection");

/** Changed, with the decision's request made to fit. */
function change(forgery: Forgery, by: (data: Connected) => void, nth = 0): void {
  const one = (data: JsonObject): void => {
    const connected = data as unknown as Connected;
    by(connected);
    const { action, role } = connected;
    const { tenant_id } = forgery.bundle.manifest;
    const asked = { action, tenant_id, role, mode: "sovereign" };
    connected.decision.request_digest = digestOf(asked);
  };
  edit(forgery, "egress.connected", one, nth);
}

/** Forgeries of the connections that steps of goals make. */
export const OF_CONNECTIONS: readonly Row[] = [
  told("to another host than its action names", (one) => {
    change(one, (data) => (data.host = "evil.example.org"));
  }),
  told("to another port than its action names", (one) => {
    change(one, (data) => (data.port = 22));
  }),
  told("to a host to which no step was let through", (one) => {
    change(one, (data) => {
      data.host = "evil.example.org";
      data.action.resource = data.host;
    });
  }),
  told("for a skill that no step has", (one) => {
    change(one, ({ action }) => (action.type = "skill.email_send"));
  }),
  told("for another channel than the step's", (one) => {
    change(one, ({ action }) => (action.resource = "b.example.org:8443/C02"), 1);
  }),
  told("in a role that no step has", (one) => {
    change(one, (data) => (data.role = "deployer"));
  }),
  told("before the step was let through", (one) => {
    const { entries } = one.bundle;
    const made = one.entry("egress.connected");
    entries.splice(entries.indexOf(made), 1);
    const step = entries.findIndex(({ entry: { event_type: event, data } }) => {
      const { action } = data as { action?: { type?: string } };
      return event === "execution.authorized" && action?.type === "skill.http_call";
    });
    entries.splice(step, 0, made);
  }),
  told("that is said to be none of a step's, with the step's approval", (one) => {
    change(
      one,
      ({ action }) => {
        action.type = "network.connect";
        action.resource = "b.example.org:8443";
      },
      1,
    );
  }),
  told("under a decision that only observed", (one) => {
    change(one, ({ decision }) => (decision.observed = true));
  }),
  told("without its end", (one) => {
    const { entries } = one.bundle;
    entries.splice(entries.indexOf(one.entry("egress.closed")), 1);
  }),
];
