import { readFileSync, writeFileSync } from 'node:fs';

const BEGIN = '<!-- bench: begin; what is between is written by npm run bench -->';
const END = '<!-- bench: end -->';

/** Puts text between the two markers of a page. @throws Error when it has none */
export function writeBetweenMarkers(path: string, text: string): void {
  const page = readFileSync(path, 'utf8');
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${path} lacks the lines "${BEGIN}" and "${END}"`);
  writeFileSync(path, `${page.slice(0, begin + BEGIN.length)}\n\n${text}\n\n${page.slice(end)}`);
}
