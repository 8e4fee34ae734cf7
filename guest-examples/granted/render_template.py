"""Renders a template with jinja2, which its registration requires.

args: (([("Bern", 134), ("<Chur>", 38)],), {})
with: {"requirements": ["jinja2>=3.1"]}
native: value '<li>Bern: 134</li><li>&lt;Chur&gt;: 38</li>'
sandbox: same
"""


def render_template(towns):
    import jinja2

    page = jinja2.Environment(autoescape=True).from_string("{% for name, people in towns %}<li>{{ name }}: {{ people }}</li>{% endfor %}")
    return page.render(towns=towns)
