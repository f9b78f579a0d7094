package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// node is what the certificates and kubeconfig files must name.
type node struct{ name, ip, serviceIP, apiPort, context string }

// writePKI makes the keys, certificates and kubeconfig files of a new cluster,
// under the names that kubeadm gives them.
func writePKI(dir string, n node) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	w := &pkiWriter{dir: dir}
	ca := w.authority("ca", "kubernetes")
	frontProxy := w.authority("front-proxy-ca", "front-proxy-ca")

	w.issue(ca, "apiserver", subject("kube-apiserver"),
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		"localhost", "127.0.0.1", n.name, n.ip, n.serviceIP)
	w.issue(ca, "kubelet", subject("system:node:"+n.name, "system:nodes"), n.name, n.ip, "127.0.0.1")
	w.issue(ca, "apiserver-kubelet-client", subject("kube-apiserver-kubelet-client", "system:masters"))
	w.issue(frontProxy, "front-proxy-client", subject("front-proxy-client"))
	w.serviceAccountKey()

	server := "https://" + net.JoinHostPort(n.ip, n.apiPort)
	w.kubeconfig(ca, "admin", n.context, server, subject("kubernetes-admin", "system:masters"))
	w.kubeconfig(ca, "controller-manager", n.context, server, subject("system:kube-controller-manager"))
	w.kubeconfig(ca, "scheduler", n.context, server, subject("system:kube-scheduler"))
	w.kubeconfig(ca, "kubelet", n.context, server, subject("system:node:"+n.name, "system:nodes"))
	w.kubeconfig(ca, "kube-proxy", n.context, server, subject("system:kube-proxy"))
	return w.err
}

// subject is who a certificate speaks for: Kubernetes reads the common name as
// the user and each organization as a group.
func subject(user string, groups ...string) pkix.Name {
	return pkix.Name{CommonName: user, Organization: groups}
}

// pkiWriter remembers the first error, and does nothing from then on.
type pkiWriter struct {
	dir string
	err error
}

type issuer struct {
	certificate *x509.Certificate
	key         crypto.Signer
	pem         []byte
}

// authority makes a self-signed authority in FILE.crt and FILE.key.
func (w *pkiWriter) authority(file, name string) issuer {
	template := w.template(pkix.Name{CommonName: name})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign
	key := w.newKey()
	certificate := w.sign(template, issuer{certificate: template, key: key}, key)
	w.write(file+".crt", certificate, 0o644)
	w.write(file+".key", w.keyPEM(key), 0o600)
	return issuer{template, key, certificate}
}

// issue makes a certificate in FILE.crt and FILE.key.
func (w *pkiWriter) issue(by issuer, file string, name pkix.Name, serverNames ...string) {
	certificate, key := w.pair(by, name, serverNames...)
	w.write(file+".crt", certificate, 0o644)
	w.write(file+".key", key, 0o600)
}

// pair makes a certificate and its key: for a client, and with names for a
// server too.
func (w *pkiWriter) pair(by issuer, name pkix.Name, serverNames ...string) (certificate, key []byte) {
	template := w.template(name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(serverNames) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, name := range serverNames {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	signer := w.newKey()
	return w.sign(template, by, signer), w.keyPEM(signer)
}

// kubeconfig issues a client certificate and wraps it, with the server's
// address, as FILE.conf.
func (w *pkiWriter) kubeconfig(by issuer, file, context, server string, name pkix.Name) {
	certificate, key := w.pair(by, name)
	type object = map[string]any
	content, err := json.MarshalIndent(object{ // JSON is YAML; []byte becomes base64, as the format asks
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": context,
		"clusters":        []object{{"name": context, "cluster": object{"server": server, "certificate-authority-data": by.pem}}},
		"users":           []object{{"name": context, "user": object{"client-certificate-data": certificate, "client-key-data": key}}},
		"contexts":        []object{{"name": context, "context": object{"cluster": context, "user": context}}},
	}, "", "  ")
	w.check(err)
	w.write(file+".conf", content, 0o600)
}

// serviceAccountKey makes the key pair that signs the tokens of pods.
func (w *pkiWriter) serviceAccountKey() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	w.check(err)
	if w.err != nil {
		return
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	w.check(err)
	w.write("sa.key", w.keyPEM(key), 0o600)
	w.write("sa.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644)
}

func (w *pkiWriter) template(name pkix.Name) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	w.check(err)
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      name,
		NotBefore:    time.Now().Add(-time.Hour), // clocks differ
		NotAfter:     time.Now().AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
}

func (w *pkiWriter) sign(template *x509.Certificate, by issuer, key crypto.Signer) []byte {
	if w.err != nil {
		return nil
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key.Public(), by.key)
	w.check(err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (w *pkiWriter) newKey() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.check(err)
	return key
}

func (w *pkiWriter) keyPEM(key crypto.Signer) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	w.check(err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (w *pkiWriter) write(file string, content []byte, mode os.FileMode) {
	if w.err == nil {
		w.err = os.WriteFile(filepath.Join(w.dir, file), content, mode)
	}
}

func (w *pkiWriter) check(err error) {
	if w.err == nil {
		w.err = err
	}
}
