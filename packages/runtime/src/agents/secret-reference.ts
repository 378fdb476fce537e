const REFERENCE = /\$\{\{\s*secrets\.([A-Z][A-Z0-9_]{0,60})\s*\}\}/g;

/** The names of the secrets that a text refers to, as `${{ secrets.NAME }}`. */
export function secretsNamedIn(text: string): string[] {
  return [...text.matchAll(REFERENCE)].map(([, name = ""]) => name);
}

export function holdsSecret(text: string): boolean {
  return secretsNamedIn(text).length > 0;
}

/** Put values in the places of the names. */
export function fillSecrets(text: string, valueOf: (name: string) => string): string {
  return text.replaceAll(REFERENCE, (_, name: string) => valueOf(name));
}
