#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# What alerts are sent to in test_alert.sh: alert_servers.py ADDRESS FOLDER. A mail server on ports 25 (no TLS), 587
# (STARTTLS and a login are required: FOLDER/cert.pem, key.pem; user alert, password "right password"), mails in
# FOLDER/mail.N; an HTTP server on port 80 that does what FOLDER/mode says (200, 500, hang), bodies in FOLDER/hook.N.
import http.server, os, socketserver, ssl, sys, threading, time
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, SMTP

address, folder = sys.argv[1:]
lock = threading.Lock()
count = {'mail': 0, 'hook': 0}

def keep(kind, data):
    with lock:
        count[kind] += 1
        name = os.path.join(folder, '%s.%d' % (kind, count[kind]))
        with open(name + '.new', 'wb') as f:
            f.write(data)
        os.rename(name + '.new', name)

class Mail:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith('nobody'):
            return '550 there is no nobody here'
        envelope.rcpt_tos.append(address)
        return '250 OK'

    async def handle_DATA(self, server, session, envelope):
        if os.path.exists(os.path.join(folder, 'refuse')):
            return '451 come again later'
        head = 'RCPT %s FROM %s TLS %s\r\n' % (','.join(envelope.rcpt_tos), envelope.mail_from, bool(session.ssl))
        keep('mail', head.encode() + envelope.content)
        return '250 OK'

def login(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b'alert' and data.password == b'right password', handled=False)

class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        mode = open(os.path.join(folder, 'mode')).read().strip()
        if mode == 'hang':
            time.sleep(3600)
        if mode == '200':
            keep('hook', body)
        self.send_response(int(mode))
        self.end_headers()
        self.wfile.write(b'secret body\n')

    def log_message(self, *args):
        pass

class Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(os.path.join(folder, 'cert.pem'), os.path.join(folder, 'key.pem'))
Controller(Mail(), hostname=address, port=25).start()

class Safe(Controller):
    def factory(self):
        return SMTP(self.handler, require_starttls=True, tls_context=tls, auth_required=True, authenticator=login)

Safe(Mail(), hostname=address, port=587).start()
web = Threads((address, 80), Hook)
print('ready', flush=True)
web.serve_forever()
