// When lines of the chat come to a page's screen, and go from it.

/** Text of a line to `{ promise, resolve }` of the Unix time in milliseconds. */
const came = new Map();
const went = new Map();

function moment(of, text) {
  if (!of.has(text)) of.set(text, Promise.withResolvers());
  return of.get(text);
}

/** The list is changed while a frame is made: when the next begins, that one has been handed on. */
function onScreen(of, nodes) {
  const texts = [...nodes].map((node) => node.querySelector?.('.line-text')?.textContent).filter(Boolean);
  if (texts.length > 0) requestAnimationFrame(() => { for (const text of texts) moment(of, text).resolve(Date.now()); });
}

new MutationObserver((records) => {
  for (const { addedNodes, removedNodes } of records) {
    onScreen(came, addedNodes);
    onScreen(went, removedNodes);
  }
}).observe(document.querySelector('ol.chat-lines'), { childList: true });

globalThis.lines = {
  /** Waits until a line is there, and says whether a reader can see it. */
  async came(text) {
    await moment(came, text).promise;
    const line = [...document.querySelectorAll('li.line')].find((li) => li.querySelector('.line-text').textContent === text);
    const { top, bottom } = line?.getBoundingClientRect() ?? { top: 0, bottom: 0 };
    const { top: from, bottom: to } = document.querySelector('.chat-scroll').getBoundingClientRect();
    return bottom > top && top >= from && bottom <= to;
  },
  /** Waits until it is gone, and says when. */
  went: (text) => moment(went, text).promise,
};
