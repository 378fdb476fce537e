import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { ROUTES } from "../../src/api/index.ts";
import { SETTINGS } from "../../src/home/index.ts";

const FOLDER = resolve("examples/operate");
const UNITS = join(FOLDER, "systemd");
const { help } = JSON.parse(readFileSync(resolve("packages/runtime/bin/help.json"), "utf8")) as {
  help: Record<string, string>;
};
const read = (path: string): string => readFileSync(path, "utf8");
const VARIABLES = new Set(SETTINGS.flatMap(({ environment }) => environment ?? []));

/** Fails where the program has no such command, or the command no such flag. */
function checkWords(words: readonly string[], place: string): void {
  const line = [...words];
  let command = "";
  for (;;) {
    const next = command === "" ? (line[0] ?? "") : `${command} ${line[0] ?? ""}`;
    if (!(next in help)) break;
    command = next;
    line.shift();
  }
  expect(command, `${place}: ${words.join(" ")}`).not.toBe("");
  const flags = line.filter((word) => word.startsWith("--"));
  for (const flag of flags) {
    const known = new RegExp(`(^|[\\s,])${flag}(?![\\w-])`, "m");
    expect(help[command], `${place}: ${command} has no ${flag}`).toMatch(known);
  }
}

/** Every command line of ours in a text. */
function commandsIn(text: string): string[][] {
  const joined = text.replaceAll(/\\\n\s*/g, "");
  return [...joined.matchAll(/(?:^|[\s'/;`])sovereign ([a-z][^\n;`'#|]*)/g)].flatMap(
    ([, words = ""]) => {
      const line = words.trim().split(/\s+/);
      return (line[0] ?? "") in help ? [line] : [];
    },
  );
}

describe("the units of systemd", () => {
  const names = readdirSync(UNITS);

  it("are ones that systemd takes", () => {
    // What they start is not installed where this runs: another program stands in its place.
    const folder = mkdtempSync(join(tmpdir(), "sov-units-"));
    for (const name of names) {
      const text = read(join(UNITS, name)).replaceAll("/usr/local/bin/sovereign", "/bin/true");
      writeFileSync(join(folder, name), text);
    }
    const files = names.map((name) => join(folder, name));
    // Where there is no systemd, nobody starts units.
    const found = spawnSync("systemd-analyze", ["verify", "--man=no", ...files], {
      encoding: "utf8",
    });
    rmSync(folder, { recursive: true });
    const missing = (found.error as NodeJS.ErrnoException | undefined)?.code === "ENOENT";
    if (!missing) expect([found.status, found.stdout, found.stderr]).toEqual([0, "", ""]);
  });

  it("start commands that there are, with flags that these have, and stop as they drain", () => {
    let seen = 0;
    for (const name of names) {
      const text = read(join(UNITS, name));
      for (const words of commandsIn(text)) {
        checkWords(words, name);
        seen += 1;
      }
      for (const [, variable = ""] of text.matchAll(/^Environment=(\w+)=/gm)) {
        expect(VARIABLES, `${name}: ${variable}`).toContain(variable);
      }
      const [, drain] = /--drain (\d+)/.exec(text) ?? [];
      const [, stop] = /^TimeoutStopSec=(\d+)/m.exec(text) ?? [];
      if (drain !== undefined) expect(Number(stop)).toBeGreaterThan(Number(drain));
    }
    expect(seen).toBe(5);
    expect(names.filter((name) => name.endsWith(".timer"))).toEqual(["sovereign-backup.timer"]);
  });
});

interface Container {
  readonly name: string;
  readonly args: string[];
  readonly env?: { name: string; value?: string; valueFrom?: object }[];
  readonly ports?: { name: string }[];
  readonly volumeMounts?: { name: string; mountPath: string }[];
  readonly readinessProbe?: { httpGet: { path: string; port: string } };
  readonly livenessProbe?: { httpGet: { path: string; port: string } };
}

interface PodSpec {
  readonly containers: Container[];
  readonly volumes?: { name: string }[];
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { name: string; namespace?: string };
  readonly spec?: {
    readonly replicas?: number;
    readonly selector?: { app?: string; matchLabels?: object };
    readonly ports?: { targetPort: string }[];
    readonly template?: { metadata: { labels: object }; spec: PodSpec };
    readonly jobTemplate?: { spec: { template: { spec: PodSpec } } };
    readonly volumeClaimTemplates?: { metadata: { name: string } }[];
  };
}

function documentsIn<T>(name: string): T[] {
  return parseAllDocuments(read(join(FOLDER, name)), { uniqueKeys: true }).map((one) => {
    expect([...one.errors, ...one.warnings]).toEqual([]);
    return one.toJS() as T;
  });
}

function checkPod({ containers, volumes = [] }: PodSpec, claims: readonly string[]): void {
  const known = new Set([...volumes.map(({ name }) => name), ...claims]);
  for (const { name, args, env = [], ports = [], volumeMounts = [], ...probes } of containers) {
    checkWords(args, name);
    for (const { name: variable } of env) expect(VARIABLES).toContain(variable);
    for (const mount of volumeMounts) expect(known).toContain(mount.name);
    for (const word of args.filter((one) => one.startsWith("/"))) {
      expect(
        volumeMounts.some(({ mountPath }) => word.startsWith(`${mountPath}/`)),
        word,
      ).toBe(true);
    }
    for (const probe of [probes.readinessProbe, probes.livenessProbe]) {
      if (probe === undefined) continue;
      const { path, port } = probe.httpGet;
      expect(ROUTES.filter(({ scope }) => scope === "public").map((one) => one.path)).toContain(
        path,
      );
      expect(ports.map((one) => one.name)).toContain(port);
    }
  }
}

describe("the manifest of Kubernetes", () => {
  const all = documentsIn<Manifest>("kubernetes.yaml");
  const [space, service, node, job] = all;
  const [serviceSpec, nodeSpec] = [service!.spec!, node!.spec!];
  const pod = nodeSpec.template!;

  it("has documents that fit together", () => {
    expect(all.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`)).toEqual([
      "v1 Namespace",
      "v1 Service",
      "apps/v1 StatefulSet",
      "batch/v1 CronJob",
    ]);
    for (const one of [service, node, job]) {
      expect(one?.metadata.namespace).toBe(space?.metadata.name);
    }
    expect(nodeSpec.selector?.matchLabels).toEqual(pod.metadata.labels);
    expect(serviceSpec.selector).toEqual(pod.metadata.labels);
    const ports = pod.spec.containers.flatMap((one) => one.ports ?? []);
    expect(serviceSpec.ports?.map(({ targetPort }) => targetPort)).toEqual(
      ports.map(({ name }) => name),
    );
    // A data folder is one node.
    expect(nodeSpec.replicas).toBe(1);
  });

  it("has commands, variables and paths of the program", () => {
    const claims = nodeSpec.volumeClaimTemplates!.map(({ metadata }) => metadata.name);
    checkPod(pod.spec, claims);
    checkPod(job!.spec!.jobTemplate!.spec.template.spec, []);
  });
});

interface Composed {
  readonly services: Readonly<
    Record<
      string,
      {
        command?: string[];
        build?: { dockerfile: string };
        environment?: Record<string, string>;
        secrets?: string[];
        volumes?: string[];
        depends_on?: Record<string, object>;
      }
    >
  >;
  readonly volumes: object;
  readonly secrets: object;
}

describe("the containers of one machine", () => {
  const { services, volumes, secrets } = documentsIn<Composed>("docker-compose.yml")[0]!;

  it.each(Object.entries(services))("name what there is: %s", (_name, one) => {
    const { volumes: mounts = [], secrets: named = [], depends_on: after = {} } = one;
    expect(Object.keys(secrets)).toEqual(expect.arrayContaining(named));
    expect(Object.keys(volumes)).toEqual(
      expect.arrayContaining(mounts.map((mount) => mount.split(":")[0])),
    );
    expect(Object.keys(services)).toEqual(expect.arrayContaining(Object.keys(after)));
  });

  it("start a command that there is, with variables that it reads and files that it is given", () => {
    const { build, command = [], environment = {}, secrets: named } = services["api"]!;
    expect(existsSync(resolve(build?.dockerfile ?? ""))).toBe(true);
    checkWords(command, "docker-compose.yml");
    for (const variable of Object.keys(environment)) expect(VARIABLES).toContain(variable);
    const files = command.filter((word) => word.startsWith("/run/secrets/"));
    expect(files.map((word) => word.slice("/run/secrets/".length))).toEqual(named);
    const [, line = "[]"] = /^CMD (\[.*\])$/m.exec(read(join(FOLDER, "Dockerfile"))) ?? [];
    checkWords(JSON.parse(line) as string[], "Dockerfile");
  });
});

describe("the page about operating", () => {
  it("has commands that there are, with flags that these have", () => {
    const found = commandsIn(read(resolve("docs/operate.md")));
    expect(found.length).toBeGreaterThan(10);
    for (const words of found) checkWords(words, "docs/operate.md");
  });
});
