import { join } from "node:path";
import { readNamed } from "@sovereign/verify";
import { type SecretReport, SecretStore } from "../agents/index.ts";
import { openSwitchFolder, type Settings } from "../home/index.ts";
import { checkTenant } from "../runs/index.ts";
import { systemClock, timestampOf } from "../system/index.ts";

export type { SecretReport } from "../agents/index.ts";

const VALUE_BYTES_MAX = 8192;

export interface SecretServices {
  /** Set a secret of a tenant. @param input.file where its value is read; never a command's word */
  setSecret(input: {
    readonly tenantId: string;
    readonly name: string;
    readonly hosts: readonly string[];
    readonly file: string;
  }): Promise<SecretReport>;
  listSecrets(tenantId: string): Promise<readonly SecretReport[]>;
  removeSecret(tenantId: string, name: string): Promise<void>;
}

export function secretServices(settings: Settings): SecretServices {
  const store = (tenantId: string): SecretStore => {
    checkTenant(tenantId);
    const folder = join(openSwitchFolder(settings.home).root, "secrets");
    return new SecretStore(folder, tenantId, settings.passphrase);
  };
  return {
    setSecret: async ({ tenantId, name, hosts, file }) => {
      const opened = store(tenantId);
      const text = readNamed(file, VALUE_BYTES_MAX).toString("latin1");
      const value = text.replace(/\r?\n$/, "");
      return opened.set({ name, hosts, value }, timestampOf(systemClock));
    },
    listSecrets: (tenantId) => Promise.resolve().then(() => store(tenantId).list()),
    removeSecret: (tenantId, name) =>
      Promise.resolve().then(() => {
        store(tenantId).remove(name);
      }),
  };
}
