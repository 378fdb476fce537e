import { expect, it } from "vitest";
import { ownOptions, type SessionOptions } from "../../../src/services/runs/open-session.ts";

const given = (approvers: readonly string[]) => ({ approvers }) as SessionOptions;

it("whose keys consent is what it was when the work was asked for", () => {
  const approvers = ["alice"];
  const own = ownOptions(given(approvers));
  approvers.push("bob");
  expect(own.approvers).toEqual(["alice"]);
  expect(() => (own.approvers as string[]).push("bob")).toThrow(TypeError);
  const flips = new Proxy(["alice"], { get: (held, key) => Reflect.get(held, key) as unknown });
  expect(ownOptions(given(flips)).approvers).toEqual(["alice"]);
  const refused = expect.objectContaining({ code: "ERR_JSON_UNSUPPORTED" }) as unknown;
  expect(() => ownOptions(given([() => "alice"] as never))).toThrow(refused);
});
