/** A call of a function of ours, and the name under which a connection keeps it prepared. */
export interface Call {
  readonly name: string;
  readonly text: string;
}
