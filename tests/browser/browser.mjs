// A page in headless Chromium, told by lines of JSON what to do: each is answered with a line.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const [executablePath] = process.argv.slice(2);
const args = [...flags, "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath, headless: true, args });
const page = await browser.newPage({ viewport: { width: 1120, height: 640 } });
// What lies on other machines is not asked for.
await page.route(
  (url) => !["127.0.0.1", "localhost"].includes(url.hostname),
  (route) => route.abort(),
);

const actions = {
  open: ({ url }) => page.goto(url, { waitUntil: "domcontentloaded" }),
  evaluate: ({ script }) => page.evaluate(script),
  hover: ({ selector }) => page.hover(selector, { timeout: 20000 }),
  click: ({ selector }) => page.click(selector, { timeout: 20000 }),
  size: ({ width, height }) => page.setViewportSize({ width, height }),
  picture: ({ path }) => page.screenshot({ path }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { action, ...given } = JSON.parse(line);
  let answer;
  try {
    const value = await actions[action](given);
    answer = { value: action === "evaluate" ? (value ?? null) : null };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
