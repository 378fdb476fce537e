import { afterEach, describe, expect, test } from "vitest";
import { isPublicAddress, namesLoopback } from "../../src/agents/addresses.ts";
import { certify } from "../support/certificate.ts";
import { ModelRig, REQUESTS, type RigOptions } from "../support/model-rig.ts";

let rig: ModelRig | undefined;
afterEach(async () => {
  await rig?.close();
  rig = undefined;
});

const PRIVATE = [
  "0.0.0.0",
  "10.1.2.3",
  "100.64.0.1",
  "127.0.0.1",
  "169.254.169.254",
  "172.16.0.1",
  "172.31.255.255",
  "192.168.1.1",
  "198.18.0.1",
  "224.0.0.1",
  "255.255.255.255",
  "168.63.129.16",
  "161.26.0.10",
  "166.8.0.1",
  "100.100.100.200",
  "192.0.0.192",
  "fd00:ec2::254",
  "fd20:ce::254",
  "::",
  "::1",
  "fe80::1",
  "fc00::1",
  "fd12::1",
  "ff02::1",
  "::ffff:10.0.0.1",
  "::ffff:8.8.8.8",
  "64:ff9b::a00:1",
  "2002:a00:1::",
  "2001::1",
  "not an address",
];

describe("addresses", () => {
  test.each(PRIVATE)("%s is not public", (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });
  test.each([
    "8.8.8.8",
    "1.1.1.1",
    "172.32.0.1",
    "168.63.129.17",
    "2606:4700::1111",
    "2a00:1450::1",
  ])("%s is public", (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });
  test("a name that only leads to this machine does not name it", () => {
    expect(namesLoopback("localhost")).toBe(true);
    expect(namesLoopback("[::1]")).toBe(true);
    expect(namesLoopback("localtest.me")).toBe(false);
  });
});

describe("the way to a vendor", () => {
  const at = async (options: Partial<RigOptions>): Promise<ModelRig> => {
    rig = await ModelRig.start({ script: [{ text: "hello" }], ...options });
    return rig;
  };
  const post = (made: ModelRig): ReturnType<ModelRig["post"]> =>
    made.post("/v1/messages", { ...REQUESTS["messages"]?.body });

  for (const address of ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1"]) {
    test(`refuses a vendor whose name leads to ${address}, before it connects`, async () => {
      const made = await at({
        vendor: { base: new URL("http://models.example.org") },
        resolver: () => Promise.resolve(["93.184.216.34", address]),
      });
      const reply = await post(made);
      expect(reply.status).toBe(403);
      expect(reply.text).toContain("ERR_MODEL_ADDRESS");
      expect(made.vendor.connections).toBe(0);
    });
  }

  test("refuses a private address in the URL itself", async () => {
    const made = await at({ vendor: { base: new URL("http://10.255.255.1:9") } });
    expect((await post(made)).text).toContain("ERR_MODEL_ADDRESS");
  });

  test("refuses a certificate that nobody vouches for, and shows no key before", async () => {
    const { certPem: cert, keyPem: key } = certify("stranger", null);
    const made = await at({ tls: { cert, key } });
    const reply = await post(made);
    expect(reply.status).toBe(502);
    expect(reply.text).toContain("certificate is refused");
    expect(made.vendor.requests).toEqual([]);
    expect(made.events("llm.called")).toMatchObject([
      { ended: "unreachable", charged: { tokens: 0 } },
    ]);
  });
});
