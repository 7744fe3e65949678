// The site's behaviour: theme, menu, copy buttons, scroll regions, place in the contents, search.
const one = (css, root = document) => root.querySelector(css);
const all = (css, root = document) => [...root.querySelectorAll(css)];
const up = document.currentScript.dataset.up;
const html = document.documentElement;

function showTheme() { one('#theme').setAttribute('aria-pressed', html.dataset.theme === 'dark'); }
one('#theme').addEventListener('click', () => {
  html.dataset.theme = html.dataset.theme === 'dark' ? 'light' : 'dark';
  try { localStorage.setItem('theme', html.dataset.theme); } catch { /* a private window */ }
  showTheme();
});
showTheme();

one('#menu').addEventListener('click', ({currentTarget: button}) => {
  const open = html.classList.toggle('menu-open');
  button.setAttribute('aria-expanded', open);
});

for (const block of all('div.sourceCode')) {
  const button = Object.assign(document.createElement('button'), {
    type: 'button', className: 'copy', textContent: 'Copy'});
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(one('code', block).innerText);
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
  block.append(button);
}

// What is wider than its box can be scrolled from the keyboard, and says what it is
function markWide(box) {
  const wide = box.scrollWidth > box.clientWidth + 1;
  const said = {tabindex: 0, role: 'group', 'aria-label': box.dataset.wide};
  for (const [name, value] of Object.entries(said)) {
    if (wide) box.setAttribute(name, value); else box.removeAttribute(name);
  }
}
const sizes = new ResizeObserver(boxes => boxes.forEach(o => markWide(o.target)));
for (const box of all('[data-wide]')) sizes.observe(box);

const links = all('.contents a');
const places = links.map(a => document.getElementById(decodeURIComponent(a.hash.slice(1))));
function followReader() {
  const passed = places.findLastIndex(o => o && o.getBoundingClientRect().top < 120);
  links.forEach((a, i) => a.classList.toggle('here', i === passed));
}
addEventListener('scroll', followReader, {passive: true});
followReader();

// Search: MiniSearch over search.json, both loaded when the box is first used
const input = one('#search'), hits = one('#hits');
let engine = null;

function loadScript(src) {
  return new Promise((done, failed) => {
    document.head.append(Object.assign(document.createElement('script'), {
      src, onload: done, onerror: failed}));
  });
}

async function makeEngine() {
  const [sections] = await Promise.all([
    fetch(up + 'search.json').then(r => r.json()), loadScript(up + 'site_libs/minisearch.js')]);
  const found = new MiniSearch({
    idField: 'href', fields: ['title', 'section', 'words', 'text'],
    storeFields: ['title', 'section', 'text'],
    searchOptions: {
      boost: {title: 4, section: 3, words: 6}, combineWith: 'AND',
      prefix: term => term.length > 2, fuzzy: term => term.length > 4 ? .15 : 0},
  });
  found.addAll(sections);
  return found;
}

function extract(text, terms) {
  const at = Math.max(0, text.toLowerCase().indexOf(terms[0]) - 40);
  return (at ? '…' : '') + text.slice(at, at + 140);
}

function hitLink(hit, terms) {
  const a = document.createElement('a');
  a.href = up + hit.id;
  for (const [tag, text] of [['strong', hit.title], ['span', hit.section],
                             ['small', extract(hit.text, terms)]]) {
    if (text) a.append(Object.assign(document.createElement(tag), {textContent: text}));
  }
  return a;
}

async function search() {
  const query = input.value.trim();
  hits.hidden = query.length < 2;
  if (hits.hidden) return;
  engine ??= makeEngine();
  const found = (await engine).search(query).slice(0, 12);
  if (query !== input.value.trim()) return;
  hits.replaceChildren(...found.map(hit => hitLink(hit, hit.terms)));
  if (!found.length) hits.textContent = 'Nothing found.';
}

input.addEventListener('input', search);
input.addEventListener('focus', () => { engine ??= makeEngine(); });
one('.search').addEventListener('keydown', event => {
  if (event.key === 'Escape') { hits.hidden = true; input.focus(); }
  if (event.key === 'Enter' && event.target === input) one('a', hits)?.click();
  if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
  event.preventDefault();
  const stops = [input, ...all('a', hits)];
  const step = event.key === 'ArrowDown' ? 1 : stops.length - 1;
  stops[(stops.indexOf(document.activeElement) + step) % stops.length].focus();
});
addEventListener('click', event => {
  if (!one('.search').contains(event.target)) hits.hidden = true;
});
addEventListener('keydown', event => {
  if (event.key !== '/' || /INPUT|TEXTAREA/.test(document.activeElement.tagName)) return;
  event.preventDefault();
  input.focus();
});
