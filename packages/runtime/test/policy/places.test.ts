import { utf8Encode } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { checkDecisions, parsePolicy, PolicyEngine } from "../../src/policy/index.ts";

const HEAD = 'policy_id: p\nschema_version: "1"\n';
const CEDAR = "permit(principal, action, resource);\n";

describe("what is wrong in a policy is told with its line and column", () => {
  it.each<[string, string, string]>([
    ["yaml that is none", "p.yaml", `${HEAD}mode: [\n`],
    ["an unknown key", "p.yaml:3:1", `${HEAD}modes: enforce\n`],
    ["a wrong value", "p.yaml:3:1", `${HEAD}mode: strict\n`],
    ["a type by pattern", "p.yaml:4:5", `${HEAD}operations:\n  - file.write\n`],
    [
      "approvals of nothing",
      "p.yaml:4:20",
      `${HEAD}approvals:\n  - { operations: [a.b], required: 1, roles: [x] }\n`,
    ],
    ["what would not deny", "p.yaml:3:14", `${HEAD}deny_paths: ["!x"]\n`],
    ["a rule twice", "p.yaml:3:21", `${HEAD}operations: [a.b,   a.b]\n`],
    ["json that is none", "p.json:3:1", '{\n  "policy_id": "p",\n]'],
    [
      "an unknown key of json",
      "p.json:3:3",
      '{\n  "policy_id": "p", "schema_version": "1",\n  "x": 1\n}',
    ],
    ["cedar that is none", "p.cedar:3:", `${CEDAR}// é\npermit(principal, action resource);\n`],
    [
      "cedar beside the schema",
      "p.cedar:2:1",
      `${CEDAR}permit(principal == No::"x", action, resource);\n`,
    ],
    ["a cedar annotation", "p.cedar:2:1", `${CEDAR}@other("x")\n${CEDAR}`],
    ["a cedar id twice", "p.cedar:", `@id("a")\n${CEDAR}\n@id("a")\n${CEDAR}`],
  ])("%s at %s", (_, place, text) => {
    const file = place.split(":")[0] ?? "";
    expect(() => parsePolicy(utf8Encode(text), file)).toThrow(place);
  });

  it("and so is what allows nothing, though it is written to", () => {
    const text = `${HEAD}allowlist:
  file_operations: [write_file]
  paths: [/lib/**, "src/*.{ts,js}", "!x", ok/**]
  commands:
    - { id: a, executable: npm test }
hosts: ["https://a.b"]
`;
    const told = parsePolicy(utf8Encode(text), "p.yaml").warnings.map((one) => one.split(" ")[0]);
    const places = ["5:11", "5:20", "5:37", "8:9", "7:16"];
    expect(told).toEqual(places.map((place) => `p.yaml:${place}:`));
    const half = `${HEAD}allowlist:\n  paths: [a/**]\n`;
    expect(parsePolicy(utf8Encode(half), "p.yaml").warnings).toEqual([
      "p.yaml:4:3: allowlist.paths allows nothing: allowlist.file_operations is empty",
    ]);
  });
});

describe("a table of decisions", () => {
  const policy = (mode: string): PolicyEngine => {
    const text = `${HEAD}mode: ${mode}
allowlist:
  file_operations: [write_file]
  paths: ["src/**"]
  commands: [{ id: test, executable: npm, allowed_args: [test] }]
deny_paths: [src/secret/**]
`;
    return new PolicyEngine(parsePolicy(utf8Encode(text), "p.yaml"));
  };
  const CASES: [string, boolean][] = [
    ["action: file.write, on: src/a, expect: allow", true],
    ['action: file.write, on: src/a, expect: allow, rule: "file.write:src/**"', true],
    ['action: file.write, on: src/a, expect: allow, rule: "file.write:lib/**"', false],
    ["action: file.write, on: src/a, expect: deny", false],
    ['action: file.write, on: src/secret/k, expect: deny, rule: "deny:src/secret/**"', true],
    ["action: file.write, on: src/../../x, expect: deny", true],
    ["action: command.run, on: npm, params: { argv: [test] }, expect: allow", true],
    ["action: command.run, on: npm, params: { argv: [publish] }, expect: allow", false],
    ["action: command.run, on: npm, params: { argv: [test] }, expect: step_up", false],
  ];
  const table = utf8Encode(["cases:", ...CASES.map(([one]) => `  - { ${one} }`)].join("\n"));

  it.each(["enforce", "observe"])("says what differs of a policy in mode %s", (mode) => {
    const results = checkDecisions(policy(mode), table, "t.yaml");
    expect(results.map((one) => one.passed)).toEqual(CASES.map(([, passed]) => passed));
    expect(results[7]).toMatchObject({ place: "t.yaml:9:5", found: { effect: "deny" } });
  });

  it.each<[string, string]>([
    ["cases: []", "t.yaml:1:1"],
    ["cases:\n  - { action: file.write, on: a }", "t.yaml:2:5"],
    ["cases:\n  - { action: x, expect: deny }", "t.yaml:2:7"],
    ["cases:\n  - { action: a.b, expect: maybe }", "t.yaml:2:20"],
  ])("that is none says where: %j", (text, place) => {
    const read = (): unknown => checkDecisions(policy("enforce"), utf8Encode(text), "t.yaml");
    expect(read).toThrow(place);
  });
});
