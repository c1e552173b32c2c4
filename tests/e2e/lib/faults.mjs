// Pages of the server's own, with a list of what went wrong in them.

/** Opens an empty page in a context of its own. Errors in it and breaches of its policy go to `page.faults`. */
export async function openWatched(browser, options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(error.message));
  page.on('console', (message) => {
    if (/Content Security Policy|TypeError|ReferenceError/.test(message.text())) page.faults.push(message.text());
  });
  return page;
}
