// Makes src/chat/generated/chat.ts from the chat's .proto (`npm run proto`). The result is committed, so that
// building the pages takes neither the compiler, which is large, nor the network; a test holds it against the .proto.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const TOOLS = ["@bufbuild/buf@1.75.0", "ts-proto@2.18.0"];
// Numbers of 64 bits as bigint, alternatives as tagged unions, and nothing that the pages do not use.
const OPTIONS = [
  "forceLong=bigint", "oneof=unions-value", "enumsAsLiterals=true", "removeEnumPrefix=true", "unrecognizedEnum=false",
  "outputJsonMethods=false", "outputPartialMethods=false", "outputTypeAnnotations=false", "esModuleInterop=true",
];

const here = path.dirname(fileURLToPath(import.meta.url));
const folder = path.join(here, "../chat/proto");
const source = path.join(folder, "lightstick/chat/v1/chat.proto");
const target = path.join(here, "src/chat/generated/chat.ts");
const sha256 = (text) => createHash("sha256").update(text).digest("hex");

const work = await mkdtemp(path.join(tmpdir(), "lightstick-proto-"));
try {
  const template = JSON.stringify({ version: "v2", plugins: [{ local: "protoc-gen-ts_proto", out: work, opt: OPTIONS }] });
  execFileSync("npx", ["--yes", ...TOOLS.flatMap((tool) => ["-p", tool]), "buf", "generate", folder, "--template", template],
    { stdio: "inherit" });
  const code = await readFile(path.join(work, "lightstick/chat/v1/chat.ts"), "utf8");
  await mkdir(path.dirname(target), { recursive: true });
  await writeFile(target, `// proto ${sha256(await readFile(source))}\n// code ${sha256(code)}\n${code}`);
} finally {
  await rm(work, { recursive: true, force: true });
}
