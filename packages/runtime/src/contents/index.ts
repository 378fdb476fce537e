import { SovereignError } from "@sovereign/core";
import type { Config, Environment } from "../home/index.ts";
import type { ContentStore } from "../runs/index.ts";
import { folderContents } from "./folder-contents.ts";
import { type S3Credentials, s3Contents } from "./s3-contents.ts";

export { folderContents } from "./folder-contents.ts";
export { type S3Credentials, type S3Place, s3Contents } from "./s3-contents.ts";

/** Where contents are kept. `shared`: whether other nodes may use the database. */
export interface ContentsOptions {
  readonly content: Config["content"];
  readonly environment: Environment;
  readonly shared: boolean;
  readonly database: (tenant: string) => ContentStore;
}

/**
 * What of runs is kept where every node reaches it, as `content.store` says: by default in a database
 * that nodes may share, and nowhere where the data folder has its own.
 *
 * @returns null where nothing is kept but in the data folder
 * @throws ERR_CONTENT_CREDENTIALS where a server needs keys and the environment has none
 */
export function openContents(options: ContentsOptions): ((tenant: string) => ContentStore) | null {
  const { content, environment, shared, database } = options;
  switch (content.store ?? (shared ? "database" : "none")) {
    case "none":
      return null;
    case "database":
      return database;
    case "folder":
      return (tenant) => folderContents(content.folder ?? "", tenant);
    case "s3": {
      const { endpoint, bucket, region, prefix } = content;
      const place = { endpoint: endpoint ?? "", bucket: bucket ?? "", region, prefix };
      const credentials = credentialsOf(environment);
      return (tenant) => s3Contents(place, credentials, tenant);
    }
  }
}

/**
 * The name of that place, the same on every node that uses it.
 * @returns null where no other node reaches it, as with a database of the data folder's own
 */
export function contentPlaceOf({
  content,
  shared,
}: Pick<ContentsOptions, "content" | "shared">): string | null {
  if (!shared) return null;
  const { folder, endpoint, bucket, prefix } = content;
  switch (content.store ?? "database") {
    case "none":
      return null;
    case "database":
      return "database";
    case "folder":
      return `folder ${folder ?? ""}`;
    case "s3":
      return `s3 ${endpoint?.replace(/\/$/, "") ?? ""}/${bucket ?? ""}/${prefix}`;
  }
}

function credentialsOf(environment: Environment): S3Credentials {
  const accessKeyId = environment["AWS_ACCESS_KEY_ID"] ?? "";
  const secretAccessKey = environment["AWS_SECRET_ACCESS_KEY"] ?? "";
  const sessionToken = environment["AWS_SESSION_TOKEN"] ?? "";
  if (accessKeyId === "" || secretAccessKey === "") {
    const text =
      "config.yaml keeps contents on an S3 server, which needs keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.";
    throw new SovereignError("ERR_CONTENT_CREDENTIALS", text);
  }
  return { accessKeyId, secretAccessKey, ...(sessionToken === "" ? {} : { sessionToken }) };
}
