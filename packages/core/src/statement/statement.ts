import { quoted } from "../bytes/printable.ts";
import { SovereignError } from "../errors/index.ts";
import type { JsonValue } from "../formats/common.ts";
import { parseFormat } from "../formats/parse.ts";
import {
  type Predicate,
  type PredicateName,
  predicates,
  predicateType,
  STATEMENT_TYPE,
  type Statement,
  statement as statementFormat,
} from "../formats/predicates.ts";
import { parseCanonicalJson } from "../json/index.ts";
import { cutText } from "../text/index.ts";

/** A statement of one of our predicate types. */
export interface TypedStatement<K extends PredicateName> {
  readonly subject: Statement["subject"];
  readonly predicate: Predicate<K>;
}

/** An in-toto Statement v1 about the given subjects. */
export function createStatement(
  subject: Statement["subject"],
  type: string,
  predicate: JsonValue,
): Statement {
  return { _type: STATEMENT_TYPE, subject, predicateType: type, predicate };
}

/**
 * Read a statement of one of our types from bytes whose signature was verified.
 *
 * @throws ERR_STATEMENT_MALFORMED for another type, or a predicate of another shape
 */
export function parseStatement<K extends PredicateName>(
  body: Uint8Array,
  kind: K,
): TypedStatement<K> {
  const { subject, predicateType: type, predicate } = parseAnyStatement(body);
  if (type !== predicateType(kind)) {
    throw new SovereignError(
      "ERR_STATEMENT_MALFORMED",
      `Expected the predicateType ${predicateType(kind)}, found ${quoted(cutText(type, 200))}.`,
    );
  }
  const typed = parseFormat(
    predicates[kind],
    predicate,
    `predicate ${kind}`,
    "ERR_STATEMENT_MALFORMED",
  );
  return { subject, predicate: typed as Predicate<K> };
}

/**
 * Read a statement of any predicate type. We write them in canonical form and accept no other, so
 * that one statement has one spelling.
 *
 * @throws ERR_STATEMENT_MALFORMED
 */
export function parseAnyStatement(body: Uint8Array): Statement {
  let value: JsonValue;
  try {
    value = parseCanonicalJson(body, { bytesMax: 1024 * 1024 });
  } catch (cause) {
    throw new SovereignError(
      "ERR_STATEMENT_MALFORMED",
      `The payload is not a statement in canonical JSON: ${messageOf(cause)}`,
      {},
      cause,
    );
  }
  return parseFormat(statementFormat, value, "statement", "ERR_STATEMENT_MALFORMED");
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : "it cannot be read";
}
