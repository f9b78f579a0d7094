// Takes a picture of each dashboard: node pictures.mjs OUT PORT NAME… Fails when a dashboard has an error.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

const [out, port, query, ...names] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), 'scalekit-preview-'));
const quiet = ['--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  viewport: { width: 1500, height: 1000 },
  args: ['--no-sandbox', '--disable-gpu', ...quiet],
});
let failed = false;
try {
  for (const name of names) {
    const page = await browser.newPage();
    const said = new Set();
    page.on('pageerror', (error) => said.add(error.message));
    await page.goto(`http://127.0.0.1:${port}/?dashboard=${name}&${query}`);
    // The first time, Vite puts the packages together: minutes on a slow machine.
    const done = page.waitForFunction('window.report?.done', null, { timeout: 400_000 });
    await done.catch((error) => { throw new Error(`${name}: ${[...said].join('\n')}`, { cause: error }); });
    // Tables draw what is in sight only.
    await page.setViewportSize({ width: 1500, height: await page.evaluate('document.body.scrollHeight') });
    await page.waitForTimeout(1000);
    await page.screenshot({ path: join(out, `dashboard-${name}.png`), fullPage: true });
    const report = await page.evaluate('window.report');
    const wrong = [...report.wrong, ...said, ...report.empty.filter((line) => line.endsWith(': NO DATA'))];
    console.log(`${name}: ${wrong.length ? wrong.join('\n  ') : 'well'}${report.empty.map((line) => `\n  empty: ${line}`).join('')}`);
    failed ||= wrong.length > 0;
    await page.close();
  }
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
