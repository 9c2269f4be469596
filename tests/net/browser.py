#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A browser without a window, through chromedriver's HTTP protocol (W3C WebDriver); nothing but the standard library.

Imported by the scripts of tests/net/test_page.sh:
    with Browser(width, height) as b: b.open(url); b.js("return document.title"); b.click("#x"); b.shot("file.png")
"""
import base64, json, os, shutil, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request


class Browser:
    def __init__(self, width=1280, height=900, phone=False, dark=False):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            port = s.getsockname()[1]
        self.home = tempfile.mkdtemp(prefix='bootwell-browser.')
        self.driver = subprocess.Popen(['chromedriver', f'--port={port}', '--log-level=OFF'], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, env=dict(os.environ, HOME=self.home, TMPDIR=self.home))
        self.base = f'http://127.0.0.1:{port}'
        options = {'args': ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', f'--user-data-dir={self.home}/profile',
                            '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-extensions',
                            '--hide-scrollbars', f'--window-size={width},{height}'] + (['--force-dark-mode', '--blink-settings=preferredColorScheme=0'] if dark else [])}
        if phone:
            options['mobileEmulation'] = {'deviceMetrics': {'width': width, 'height': height, 'pixelRatio': 2.0, 'touch': True}}
        self.wait(lambda: self.call('GET', '/status'), 60, 'chromedriver starts')
        answer = self.call('POST', '/session', {'capabilities': {'alwaysMatch': {
            'browserName': 'chrome', 'goog:chromeOptions': options, 'goog:loggingPrefs': {'browser': 'ALL'}}}})
        self.session = '/session/' + answer['sessionId']

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call('DELETE', self.session)
        except OSError:
            pass
        self.driver.terminate()
        self.driver.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.base + path, data, {'Content-Type': 'application/json'}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=180) as r:
                return json.load(r)['value']
        except urllib.error.HTTPError as e:
            raise RuntimeError(json.load(e)['value']['message'].split('\n')[0]) from None

    def wait(self, what, limit=60, name='it'):
        """Until what() is true; its exceptions count as not yet."""
        end, last = time.monotonic() + limit, None
        while time.monotonic() < end:
            try:
                last = what()
                if last:
                    return last
            except (RuntimeError, OSError) as e:
                last = e
            time.sleep(0.2)
        raise TimeoutError(f'{name}: not within {limit} s ({last})')

    def open(self, url):
        self.call('POST', self.session + '/url', {'url': url})

    def js(self, script, *args):
        return self.call('POST', self.session + '/execute/sync', {'script': script, 'args': list(args)})

    def text(self, css):
        """What a person reads there, None if there is no such element."""
        return self.js('const e = document.querySelector(arguments[0]); return e && e.innerText', css)

    def find(self, css):
        return list(self.call('POST', self.session + '/element', {'using': 'css selector', 'value': css}).values())[0]

    def click(self, css):
        """As a person does: the element must be visible and nothing may lie over it."""
        self.wait(lambda: self.call('POST', f'{self.session}/element/{self.find(css)}/click', {}) is None, 30, f'click {css}')

    def type(self, css, text):
        self.call('POST', f'{self.session}/element/{self.find(css)}/value', {'text': text})

    def choose(self, css, value):
        self.js('const e = document.querySelector(arguments[0]); e.value = arguments[1];'
                'e.dispatchEvent(new Event("change", {bubbles: true}))', css, value)

    def log(self):
        """What the browser's console said since the last call."""
        return [e['message'] for e in self.call('POST', self.session + '/se/log', {'type': 'browser'})]

    def shot(self, file):
        with open(file, 'wb') as f:
            f.write(base64.b64decode(self.call('GET', self.session + '/screenshot')))
