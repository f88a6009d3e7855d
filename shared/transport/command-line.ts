import { BridgeError } from '../errors.ts';

/**
 * Splits a command as it stands in a URL into its words; there is no shell. Blanks part words. Within '…' and within
 * "…" every character stands for itself, so that each kind of quote can hold the other; a backslash is a character like
 * any other. Parts that touch make one word: a'b c'"d" is `ab cd`, and '' is an empty word.
 * @throws BridgeError BAD_REQUEST for a quote that is not closed, or a NUL
 */
export function splitCommandLine(text: string): string[] {
  if (text.includes('\0')) throw new BridgeError('BAD_REQUEST', 'a command cannot hold a NUL');
  const words: string[] = [];
  let word: string | undefined;
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (char === "'" || char === '"') {
      const end = text.indexOf(char, at + 1);
      if (end < 0)
        throw new BridgeError('BAD_REQUEST', `a quote (${char}) is not closed in the command: ${text}`);
      word = (word ?? '') + text.slice(at + 1, end);
      at = end;
    } else if (char === ' ' || char === '\t' || char === '\n') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + char;
  }
  if (word !== undefined) words.push(word);
  return words;
}
