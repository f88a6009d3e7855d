/** `npm run docs`: writes the pages that are made of the code. */
import { writeFileSync } from 'node:fs';
import { configurationPage } from './configuration-page.ts';

// The build is in dist/, the page beside it.
const page = new URL('../../../docs/configuration.md', import.meta.url);
writeFileSync(page, configurationPage());
process.stdout.write('docs/configuration.md is written\n');
