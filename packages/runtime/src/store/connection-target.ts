/** How to reach a server. Never logged whole: a URL may hold a password. */
export type ConnectionTarget =
  | { readonly kind: "embedded"; readonly socket: string; readonly data: string }
  | {
      readonly kind: "url";
      readonly url: string;
      /** For how long it may say nothing before it counts as gone. */
      readonly patienceMs: number;
    };
