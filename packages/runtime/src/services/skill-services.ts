import { join } from "node:path";
import type { JsonObject } from "@sovereign/core";
import { openSwitchFolder, type Settings } from "../home/index.ts";
import { checkTenant } from "../runs/index.ts";
import { type OwnSkill, OwnSkills, readOwnFolder } from "../skills/index.ts";
import { systemClock, timestampOf } from "../system/index.ts";

/** What is told of a skill of one's own. */
export interface OwnSkillReport {
  readonly name: string;
  readonly version: string;
  /** As its author says. */
  readonly text: string;
  /** Of its folder: plans and evidence name it. */
  readonly digest: string;
  readonly command: readonly string[];
  /** The one host that it may reach; null for none. */
  readonly host: string | null;
  /** Where in its input it takes secrets. */
  readonly secrets: readonly string[];
  readonly input: JsonObject;
  readonly output: JsonObject;
}

export interface TrustedSkillReport extends OwnSkillReport {
  readonly files: readonly string[];
  readonly trusted: boolean;
}

export interface SkillServices {
  /** Trust a skill's folder as it is now, for one tenant. @param input.folder untrusted */
  addSkill(input: {
    readonly tenantId: string;
    readonly folder: string;
    readonly dryRun: boolean;
  }): Promise<TrustedSkillReport>;
  /** What the tenant trusts. */
  ownSkills(tenantId: string): Promise<readonly OwnSkillReport[]>;
  removeSkill(tenantId: string, name: string): Promise<void>;
}

export function skillServices(settings: Settings): SkillServices {
  const store = (tenantId: string): OwnSkills => {
    checkTenant(tenantId);
    return ownSkillsOf(openSwitchFolder(settings.home).root, tenantId);
  };
  return {
    addSkill: ({ tenantId, folder, dryRun }) =>
      Promise.resolve().then(() => {
        const skills = store(tenantId);
        const read = readOwnFolder(folder);
        if (!dryRun) skills.add(read, timestampOf(systemClock));
        const files = read.files.map(({ path }) => path);
        return { ...reportOf(read), files, trusted: !dryRun };
      }),
    ownSkills: (tenantId) => Promise.resolve().then(() => store(tenantId).list().map(reportOf)),
    removeSkill: (tenantId, name) =>
      Promise.resolve().then(() => {
        store(tenantId).remove(name);
      }),
  };
}

/** @param root the data folder */
export function ownSkillsOf(root: string, tenantId: string): OwnSkills {
  return new OwnSkills(join(root, "skills"), tenantId);
}

function reportOf({ manifest, digest }: Pick<OwnSkill, "manifest" | "digest">): OwnSkillReport {
  const { name, version, text, command, host, secrets, schemas } = manifest;
  return { name, version, text, digest, command, host, secrets, ...schemas };
}
