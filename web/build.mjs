// Builds the pages into dist/ (`npm run build`), or the unit tests into the cache folder (`--tests`).
import { build } from "esbuild";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const at = (...parts) => path.join(here, ...parts);
const PAGES = ["index", "studio", "watch"];

async function buildTests() {
  const out = at("node_modules/.cache/lightstick-tests");
  await rm(out, { recursive: true, force: true });
  const entryPoints = (await readdir(at("tests"))).filter((f) => f.endsWith(".test.ts")).map((f) => at("tests", f));
  await build({ entryPoints, outdir: out, bundle: true, platform: "node", format: "esm", target: "node20",
    outExtension: { ".js": ".mjs" }, sourcemap: "inline", logLevel: "warning" });
}

async function buildPages() {
  const out = at("dist");
  await rm(out, { recursive: true, force: true });
  await mkdir(path.join(out, "assets"), { recursive: true });
  // Each page by itself: what pages share is in each of them, for who watches does not visit the studio.
  const inputs = new Set();
  for (const page of PAGES) for (const input of await buildPage(page, out)) inputs.add(input);
  await writeFile(path.join(out, "assets/licences.txt"), await licences(inputs));
  await cp(at("pages/icon.svg"), path.join(out, "assets/icon.svg"));
}

/** What a file imports, and what that imports, but for what is fetched later. */
function importsOf(metafile, file, found = new Set()) {
  for (const { path: imported, kind } of metafile.outputs[file].imports) {
    if (kind !== "import-statement" || found.has(imported)) continue;
    found.add(imported);
    importsOf(metafile, imported, found);
  }
  return found;
}

async function buildPage(page, out) {
  // Names carry a hash of the content, so that the server may let browsers keep them for ever.
  const { metafile } = await build({
    absWorkingDir: here,
    entryPoints: [`src/${page}/main.ts`, `src/${page}/page.css`],
    outdir: "dist/assets", outbase: "src", entryNames: "[dir]-[hash]", assetNames: "[name]-[hash]", chunkNames: "[name]-[hash]",
    // What a page fetches later, the chat for one, becomes a file of its own.
    bundle: true, splitting: true, format: "esm", minify: true, target: ["es2022", "chrome111", "firefox115", "safari16.4"],
    metafile: true, logLevel: "warning", legalComments: "none",
  });
  const url = (file) => "/" + path.posix.relative("dist", file);
  const built = new Map();
  let early = [];
  for (const [file, { entryPoint }] of Object.entries(metafile.outputs)) {
    if (!entryPoint) continue;
    built.set(entryPoint, url(file));
    if (entryPoint === `src/${page}/main.ts`) early = [...importsOf(metafile, file)].map(url);
  }
  const html = (await readFile(at("pages", `${page}.html`), "utf8"))
    .replaceAll("{{script}}", need(built, `src/${page}/main.ts`))
    .replaceAll("{{style}}", need(built, `src/${page}/page.css`))
    // What the script imports is fetched along with it, not after it has been read.
    .replace(/( *)<script type="module"/, (script, indent) =>
      early.map((file) => `${indent}<link rel="modulepreload" href="${file}">\n`).join("") + script);
  await writeFile(path.join(out, `${page}.html`), html);
  return Object.keys(metafile.inputs);
}

/** What files say of their licences at their beginnings. */
async function headers(files) {
  const texts = await Promise.all(files.map((file) => readFile(at(file), "utf8")));
  return [...new Set(texts.map((text) => text.split("\n").filter((line, i, all) => all.slice(0, i + 1).every((l) => l.startsWith("//"))).join("\n")))].join("\n\n");
}

/** The licences of packages that reached the pages: they ask to go along. */
async function licences(inputs) {
  const packages = new Set([...inputs].flatMap((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []));
  const texts = [...packages].sort().map(async (name) => {
    const { version, license } = JSON.parse(await readFile(at("node_modules", name, "package.json"), "utf8"));
    const file = (await readdir(at("node_modules", name))).find((found) => /^licen[cs]e/i.test(found));
    const text = file ? await readFile(at("node_modules", name, file), "utf8") : await headers([...inputs].filter((input) => input.includes(`/${name}/`)));
    return `${name} ${version} (${license})\n\n${text.trim()}\n`;
  });
  return (await Promise.all(texts)).join("\n\n");
}

function need(built, entry) {
  const file = built.get(entry);
  if (!file) throw new Error(`nothing was built from ${entry}`);
  return file;
}

await (process.argv.includes("--tests") ? buildTests() : buildPages());
