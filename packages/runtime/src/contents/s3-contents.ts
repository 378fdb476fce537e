import { createHash } from "node:crypto";
import { SovereignError } from "@sovereign/core";
import { AwsClient } from "aws4fetch";
import { ARTIFACT_BYTES_MAX, type ContentStore } from "../runs/index.ts";

/** Where an S3-compatible server keeps contents. */
export interface S3Place {
  /** The server's URL, without the bucket. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  /** Stands before each key. */
  readonly prefix: string;
}

/** By which the server knows us. They are in no message, and no other process gets them. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** One request may take so long. */
const REQUEST_MS = 120_000;
/** What the client repeats itself, with a growing wait: answers 5xx and 429. */
const RETRIES = 4;

/** Contents on an S3-compatible server: `PREFIX TENANT/DIGEST` in one bucket. */
export function s3Contents(
  place: S3Place,
  credentials: S3Credentials,
  tenant: string,
): ContentStore {
  const { endpoint, bucket, region, prefix } = place;
  const client = new AwsClient({ ...credentials, region, service: "s3", retries: RETRIES });
  const ask = async (digest: string, init: RequestInit, hash: string): Promise<Response> => {
    const url = new URL(endpoint);
    const key = `${prefix}${tenant}/${digest}`.split("/").map(encodeURIComponent).join("/");
    url.pathname = `${url.pathname.replace(/\/$/, "")}/${encodeURIComponent(bucket)}/${key}`;
    try {
      return await client.fetch(url.href, {
        ...init,
        headers: { "x-amz-content-sha256": hash },
        // Whoever answers for the server may not send what is signed elsewhere.
        redirect: "error",
        signal: AbortSignal.timeout(REQUEST_MS),
      });
    } catch (error) {
      throw unavailable(place, `it does not answer: ${whyOf(error)}`, error);
    }
  };
  return {
    put: async (digest, bytes) => {
      const hash = createHash("sha256").update(bytes).digest("hex");
      // A copy, because the client's type takes no bytes that share memory.
      const answer = await ask(digest, { method: "PUT", body: new Uint8Array(bytes) }, hash);
      await answer.body?.cancel();
      if (!answer.ok) throw unavailable(place, `it answered ${answer.status} to a PUT`);
    },
    get: async (digest) => {
      const answer = await ask(digest, { method: "GET" }, EMPTY_SHA256);
      if (answer.ok) return readBody(place, answer);
      await answer.body?.cancel();
      if (answer.status === 404) return null;
      throw unavailable(place, `it answered ${answer.status} to a GET`);
    },
  };
}

const EMPTY_SHA256 = createHash("sha256").digest("hex");

/** What comes may be more than was ever put. */
async function readBody(place: S3Place, answer: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const part of answer.body ?? []) {
      length += part.length;
      if (length > ARTIFACT_BYTES_MAX) break;
      parts.push(part);
    }
  } catch (error) {
    throw unavailable(place, `its answer broke off: ${whyOf(error)}`, error);
  }
  if (length <= ARTIFACT_BYTES_MAX) return Buffer.concat(parts);
  throw unavailable(place, `it answered with more than ${ARTIFACT_BYTES_MAX} bytes`);
}

function whyOf(error: unknown): string {
  const { cause, message } = error as {
    cause?: { code?: string; message?: string };
    message: string;
  };
  return cause?.code ?? cause?.message ?? message;
}

function unavailable({ endpoint, bucket }: S3Place, why: string, cause?: unknown): SovereignError {
  const text = `The bucket ${bucket} on ${new URL(endpoint).host} cannot be used: ${why}. Look at content.* in config.yaml and at AWS_ACCESS_KEY_ID.`;
  return new SovereignError("ERR_CONTENT_UNAVAILABLE", text, { bucket }, cause);
}
