// Typeset equations: reads {page: [TeX with its delimiters]}, writes
// {css, pages: {page: {maths: [HTML], glyphs: SVG}}}.
// node maths.js node_modules < in.json > out.json
const fs = require('fs');
const path = require('path');

// $n<N$ would open a tag
function asHTML(tex) { return tex.replace(/&/g, '&amp;').replace(/</g, '&lt;'); }

async function typeset(pages) {
  const es5 = path.resolve(process.argv[2], 'mathjax/es5');
  const {startup, texReset, _} = await require(path.join(es5, 'node-main.js')).init({
    loader: {load: ['input/tex-full', 'output/svg', 'adaptors/liteDOM', 'a11y/assistive-mml'],
             versionWarnings: false},
    tex: {tags: 'ams'},
    svg: {fontCache: 'global'},
    startup: {typeset: false},
  });
  const {adaptor, input, output} = startup;
  const out = {css: '', pages: {}};
  for (const [page, maths] of Object.entries(pages)) {
    texReset();
    output.clearFontCache();
    const doc = _.mathjax.mathjax.document(
      maths.map(tex => `<p>${asHTML(tex)}</p>`).join(''), {InputJax: input, OutputJax: output});
    doc.render();
    const body = adaptor.body(doc.document);
    out.css = adaptor.textContent(output.styleSheet(doc));
    out.pages[page] = {
      glyphs: adaptor.outerHTML(adaptor.elementById(body, 'MJX-SVG-global-cache')),
      maths: adaptor.tags(body, 'p').map(p => adaptor.innerHTML(p)),
    };
  }
  return out;
}

typeset(JSON.parse(fs.readFileSync(0, 'utf8')))
  .then(out => process.stdout.write(JSON.stringify(out)))
  .catch(e => { console.error(e.message); process.exit(1); });
