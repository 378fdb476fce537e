import { z } from "zod";

/** A field that refers to a secret: it holds none itself, because a plan stands in the ledger. */
export const secretField = z
  .string()
  .regex(
    /^\$\{\{ *secrets\.[A-Z][A-Z0-9_]{0,60} *\}\}$/,
    "expected a reference to a secret: ${{ secrets.NAME }}",
  );
