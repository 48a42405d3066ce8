#!/usr/bin/env python3
"""Chat templates by transformers itself: what it makes of each of these is kept in executors/src/test/resources/templates.json.

    ref/bin/python tests/reference/templates.py
    ref/bin/python tests/reference/templates.py --sweep WHEEL OUT     the templates of a wheel (trl has sixty) instead, for a sweep
"""
import json
import os
import sys
import zipfile

from transformers.utils.chat_template_utils import render_jinja_template

SPECIAL = {'bos_token': '<s>', 'eos_token': '</s>'}
TOOL = {'type': 'function', 'function': {'name': 'get_weather', 'description': 'Weather "now" in a città', 'parameters': {
    'type': 'object', 'required': ['city'], 'properties': {
        'city': {'type': 'string', 'description': 'The city'}, 'days': {'type': 'integer', 'enum': [1, 2]},
        '10': {'type': ['string', 'null'], 'default': None}, '2': {'type': 'number', 'default': 1.0}}}}}


def call(arguments):
    return {'id': 'abc123def', 'type': 'function', 'function': {'name': 'get_weather', 'arguments': arguments}}


def user(content):
    return {'role': 'user', 'content': content}


def assistant(content, **more):
    return {'role': 'assistant', 'content': content, **more}


ANSWER = {'role': 'tool', 'tool_call_id': 'abc123def', 'name': 'get_weather', 'content': '{"t": 20}'}
CHATS = {
    'one': [user('Hi there ')],
    'turns': [{'role': 'system', 'content': 'Be brief.\n'}, user(" What's <b>1 & 2</b>? "), assistant('3'), user("And\n\n'4'?")],
    'think': [user('q'), assistant('<think>\nhm, 北京\n</think>\n\nanswer'), user('again')],
    'reason': [user('q'), assistant('answer', reasoning_content='because'), user('again')],
    'tools': [user('weather?'), assistant('', tool_calls=[call({'city': 'Zoë', '10': 2, '2': [1.5, True, None, 1e-7]})]), ANSWER, user('thanks')],
    'none': [user('weather?'), assistant(None, tool_calls=[call('{"city": "Rome"}')]), ANSWER],
    'parts': [user([{'type': 'text', 'text': 'part one'}, {'type': 'text', 'text': 'part two'}])],
    'open': [user('say'), assistant('I begin ')],
    'odd': [assistant('first'), assistant('second')],
}

# Python's values, operators and methods; Jinja2's scopes, whitespace, tests and filters.
TEMPLATES = [
    '{{ messages }}', '{{ tools }}', '{{ messages[0] | tojson }}', '{{ tools | tojson(indent=2) }}', '{{ messages | tojson(indent=4, sort_keys=True) }}',
    "{{ messages[-1]['content'] }}|{{ messages[-1].content is string }}|{{ messages[0].content is iterable }}|{{ messages[0] is mapping }}",
    '{{ 1.0 }}|{{ 100000000000000000000.0 }}|{{ 2 / 2 }}|{{ 7 // 2 }}|{{ -7 % 3 }}|{{ 2 ** 3 }}|{{ 1.5 * 2 }}|{{ true + 1 }}|{{ 7 % 2.5 }}',
    "{{ 'a' * 3 }}|{{ [1, 2] + [3] }}|{{ 'x' ~ 1 ~ none ~ true }}|{{ (1, 'a') }}|{{ ['a', none, 1.0, {'b': false}] }}",
    "{{ 'a' + 1 }}", "{{ 'a' + messages[0].content }}", '{{ 1 + none }}', '{{ missing + 1 }}', '{{ missing.attribute }}', '[{{ missing }}]', '{{ messages[0].missing.more }}',
    "{{ '1' == 1 }}|{{ 1 == 1.0 }}|{{ true == 1 }}|{{ [1] == [1] }}|{{ {'a': 1} == {'a': 1} }}|{{ none == missing }}|{{ 'a' < 'b' }}|{{ [1, 2] < [1, 3] }}",
    "{{ 'a' < 1 }}", "{{ 'b' in 'abc' }}|{{ 2 in [1, 2] }}|{{ 'a' in {'a': 1} }}|{{ 'x' not in [] }}|{{ 'x' in missing }}", "{{ 1 in 'abc' }}",
    "{{ ' a b '.strip() }}|{{ '\\u00a0x\\u2003'.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,c'.split(',', 1) }}|{{ ' a  b '.split() }}|{{ 'a-b-c'.rsplit('-', 1) }}",
    "{{ 'aBc'.upper() }}|{{ 'hello wORLD'.title() }}|{{ 'hELLO'.capitalize() }}|{{ 'abc'.find('c') }}|{{ 'ab'.startswith(('x', 'a')) }}|{{ 'abc'[::-1] }}|{{ 'abc'[-2:] }}",
    "{{ 'a=b=c'.partition('=')[2] }}|{{ 'a=b=c'.rpartition('=')[0] }}|{{ '7'.zfill(3) }}|{{ 'ab'.ljust(4) }}|{{ 'a\\nb\\n'.splitlines() }}|{{ ', '.join(['a', 'b']) }}",
    "{{ 'aaa'.replace('a', 'b', 2) }}|{{ 'a1'.isalnum() }}|{{ ' '.isspace() }}|{{ 'ab'.removeprefix('a') }}|{{ 'ab'.removesuffix('b') }}|{{ 'aXa'.count('a') }}",
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set last = m.role %}{% endfor %}{{ ns.n }}[{{ last }}]",
    "{% set seen = 'no' %}{% for m in messages %}{{ seen }},{% set seen = m.role %}{{ seen }};{% endfor %}{{ seen }}",
    "{% for m in messages if m.role != 'user' %}{{ loop.index }}/{{ loop.length }}:{{ m.role }}{% if not loop.last %},{% endif %}{% else %}none{% endfor %}",
    "{% for m in messages %}{{ m.role }}{% if m.role == 'user' %} skip {% continue %}{% endif %}!{% if loop.index > 1 %}stop{% break %}{% endif %}{% endfor %}",
    "{% for m in messages %}{{ loop.cycle('a', 'b') }}{{ loop.changed(m.role) }}{{ loop.previtem.role if loop.previtem is defined }}>{{ loop.nextitem is defined }} {% endfor %}",
    "{% for c in messages[0].content %}[{{ c }}]{% endfor %}", '{% for x in missing %}a{% else %}b{% endfor %}', '{% for x in none %}a{% endfor %}',
    "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{% for k in messages[0] %}{{ k }};{% endfor %}{{ messages[0].keys() | list }}",
    "{% for a, b in [('x', 1), ['y', 2]] %}{{ a }}{{ b }}{% endfor %}{% for (a, (b, c)) in [(1, (2, 3))] %}{{ a + b + c }}{% endfor %}",
    "{% macro turn(role, text='-') %}<{{ role }}>{{ text }}{% endmacro %}{{ turn('a') }}{{ turn('b', text='c') }}{{ turn(role='d') }}",
    "{% macro deep(v) %}{% if v is mapping %}{ {%- for k, w in v | dictsort %}{{ k }}:{{ deep(w) }},{% endfor %} }{% else %}{{ v }}{% endif %}{% endmacro %}{{ deep(tools[0]) if tools else '' }}",
    "{% set block %}\n  {{ messages[0].role }}\n{% endset %}[{{ block }}]", "{% filter upper %}{{ messages[0].role }}{% endfilter %}",
    "{{ messages[0].content | trim }}|{{ none | trim }}|{{ [1] | trim }}|{{ missing | trim }}|{{ 'ab' | upper | lower | capitalize }}|{{ 5 | string + 'x' }}",
    "{{ messages | map(attribute='role') | join(', ') }}|{{ [3, 1, 2] | sort | join }}|{{ [1, 2] | join('-') }}|{{ ['b', 'A'] | sort }}|{{ [1, 1.0, 2] | unique | list }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}|{{ messages | rejectattr('role', 'in', ['user']) | map(attribute='role') | list }}",
    "{{ messages | selectattr('tool_calls') | list | length }}|{{ messages | selectattr('tool_calls', 'defined') | list | length }}|{{ [1, 2, 3] | select('odd') | list }}",
    "{{ messages[0].content | selectattr('type', 'equalto', 'text') | map(attribute='text') | join('+') }}",
    "{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|{{ 'abc' | replace('b', 'x') }}|{{ 'abc' | first }}{{ [1, 2] | last }}|{{ [] | first }}|{{ 'ab' | reverse }}",
    "{{ missing | default('x') }}|{{ '' | default('y', true) }}|{{ none | default('z') }}|{{ missing | d(1) }}|{{ '3' | int + 1 }}|{{ 'x' | int(7) }}|{{ 2.7 | int }}|{{ '1.5' | float }}",
    "{{ [1, 2.5] | sum }}|{{ [3, 1] | min }}|{{ [3, 1] | max }}|{{ -3 | abs }}|{{ {'b': 1, 'a': 2} | dictsort }}|{{ {'a': 1} | items | list }}|{{ 'abc' | length }}|{{ missing | length }}",
    "{{ 3 is number }}|{{ true is number }}|{{ 3 is integer }}|{{ 1.5 is float }}|{{ 3 is odd }}|{{ none is none }}|{{ missing is undefined }}|{{ 'a' is sequence }}|{{ {} is iterable }}",
    "{{ tools is defined }}|{{ tools is none }}|{{ documents is none }}|{{ tools is not none and tools | length }}|{{ add_generation_prompt }}|{{ enable_thinking is defined and enable_thinking }}",
    "{{ 'yes' if messages[0].tool_calls else 'no' }}|{{ 'x' if false }}|{{ not messages }}|{{ [] or 'empty' }}|{{ 'a' and 'b' }}|{{ none or missing or 0 }}",
    "{{ messages[0].items is defined }}|{{ messages[0]['items'] is defined }}|{{ messages[0].get('role') }}|{{ messages[0].get('x', 'd') }}|{{ messages[0][0] }}|{{ messages[9] }}",
    "{{ range(3) | list }}|{{ range(1, 7, 2) | list }}|{{ range(3, 0, -1) | list }}|{{ dict(a=1).a }}|{{ namespace(x=1).x }}",
    "{%- if messages %}\n  kept\n{%- endif -%}  \n gone\n   {% if true %}\nline\n  {% endif %}\n{# comment #}\nend\n", "a\r\n{% if true %}\r\nb{% endif %}\r\nc\r\n",
    "{% for m in messages %}\n{% generation %}\n{{ m.role }}\n{% endgeneration %}\n{% endfor %}", "{% for m in messages %}{%- generation -%} {{ m.role }} {%- endgeneration -%}\n{% endfor %}",
    "{{ raise_exception('Roles must alternate: ' ~ messages[0].role) }}", "{% if messages[0].role == 'assistant' %}{{ raise_exception('no') }}{% endif %}fine", '{{ missing() }}', '{{ messages.role }}',
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + eos_token }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] | trim }}<|end|>\n{% endfor %}{{ '<|assistant|>\n' if add_generation_prompt else eos_token }}",
    "{% if tools %}{% for t in tools %}{{ t.function.parameters.properties | tojson }}{% for k, v in t.function.parameters.properties.items() %}{{ k }}:{{ v.type }}{{ v.default }};{% endfor %}{% endfor %}{% endif %}",
    "{% for m in messages %}{% if m.tool_calls %}{% for c in m.tool_calls %}{{ c.function.name }}({% if c.function.arguments is mapping %}{% for k, v in c.function.arguments.items() %}{{ k }}={{ v | tojson }},"
    "{% endfor %}{% else %}{{ c.function.arguments }}{% endif %}){% endfor %}{% endif %}{% endfor %}",
    "{% set think = messages[-1].content.split('</think>')[-1].lstrip('\\n') if messages[-1].content is string and '</think>' in messages[-1].content else '' %}[{{ think }}]",
]
VARIANTS = [{}, {'add_generation_prompt': False}, {'enable_thinking': False}, {'tools': [TOOL]}]


def rendered(template, request):
    names = {'add_generation_prompt': True, **request}
    messages = names.pop('messages')
    if names.get('continue_final_message'):
        names['add_generation_prompt'] = False
    try:
        return render_jinja_template([messages], chat_template=template, **names, **SPECIAL)[0][0]
    except Exception as e:
        if type(e).__module__ not in ('builtins', 'jinja2.exceptions'):
            raise
        return None


def cases(templates, variants_of):
    for number, template in enumerate(templates):
        for name, chat in CHATS.items():
            for variant in variants_of(name, number):
                request = {'messages': chat, **variant}
                yield {'template': number, 'request': request, 'expected': rendered(template, request)}


def main():
    if sys.argv[1:2] == ['--sweep']:
        with zipfile.ZipFile(sys.argv[2]) as wheel:
            templates = [wheel.read(name).decode() for name in wheel.namelist() if name.endswith('.jinja')]
        variants, out = (lambda name, number: VARIANTS + [{'continue_final_message': True}]), sys.argv[3]
    else:
        def variants(name, number):
            few = [{'continue_final_message': True}] if name in ('open', 'parts') and number >= len(TEMPLATES) - 5 else []
            return few + [VARIANTS[(number + len(name)) % 2], *([VARIANTS[2 + number % 2]] if name in ('tools', 'one') else [])]
        templates = TEMPLATES
        out = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'executors', 'src', 'test', 'resources', 'templates.json')
    with open(out, 'w') as file:
        json.dump({'special': SPECIAL, 'templates': templates, 'cases': list(cases(templates, variants))}, file, ensure_ascii=False)
        file.write('\n')


if __name__ == '__main__':
    main()
