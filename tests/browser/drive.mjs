// SPDX-License-Identifier: Apache-2.0
// Drives Chromium with Playwright for browser.py: a call on each line of standard input, an answer
// on each line of standard output, both JSON. The tests themselves are in Python, where the nodes
// and workers are that they kill.
//
//   {"id", "open": {url, …}}            a page in a context of its own; the answer is its number
//   {"id", "page", "steps": [[method, argument…]…]}   methods of Playwright's Page, and of what the
//                                       one before answered: [["locator", "#pause"], ["click"]]
//   {"id", "page", "names": true}       what a screen reader is told: [{role, name, focusable}…]
//
// Between them stand {"page", "error"} and {"page", "request"}: what went wrong, whom it asked.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const [modules, executablePath, patience] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"] });
const pages = [];

function tell(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

async function open({ url, ...look }) {
  const context = await browser.newContext(look), page = await context.newPage(), number = pages.push(page) - 1;
  page.setDefaultTimeout(Number(patience));
  page.on("console", m => ["error", "warning", "assert"].includes(m.type()) && tell({ page: number, error: `${m.text()} ${m.location().url}` }));
  page.on("pageerror", e => tell({ page: number, error: String(e.stack || e) }));
  page.on("request", r => tell({ page: number, request: r.url() }));
  await page.goto(url);
  return number;
}

async function names(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  await session.detach();
  return nodes.filter(n => !n.ignored).map(n => ({ role: n.role?.value, name: n.name?.value || "",
    focusable: !!n.properties?.some(p => p.name === "focusable" && p.value.value) }));
}

async function play(page, steps) {
  let on = page;
  for (const [name, ...words] of steps) on = typeof on[name] === "function" ? await on[name](...words) : on[name];
  if (on === undefined || on === null || typeof on !== "object" || Array.isArray(on)) return on;
  return Object.getPrototypeOf(on) === Object.prototype ? on : null; // what JSON cannot hold
}

tell({ id: 0, value: browser.version() });
for await (const line of createInterface({ input: process.stdin })) {
  const call = JSON.parse(line), page = pages[call.page];
  try {
    const value = call.open ? await open(call.open) : call.names ? await names(page) : await play(page, call.steps);
    tell({ id: call.id, value });
  } catch (error) {
    tell({ id: call.id, error: String(error.message || error) });
  }
}
await browser.close();
