package login

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/subtle"
	"fmt"
	"hash"
)

// Algorithm is a hash that CHAP may use, by its number in the CHAP_A key (RFC 7143
// 12.1.3 and the IANA registry of PPP authentication algorithms).
type Algorithm uint8

// Algorithms. SHA-1 is known but acceptable only where a Config names it.
const (
	MD5     Algorithm = 5
	SHA1    Algorithm = 6
	SHA256  Algorithm = 7
	SHA3256 Algorithm = 8
)

// String returns the usual name.
func (a Algorithm) String() string {
	switch a {
	case MD5:
		return "MD5"
	case SHA1:
		return "SHA-1"
	case SHA256:
		return "SHA-256"
	case SHA3256:
		return "SHA3-256"
	default:
		return fmt.Sprintf("algorithm %d", uint8(a))
	}
}

func (a Algorithm) new() (hash.Hash, error) {
	switch a {
	case MD5:
		return md5.New(), nil
	case SHA1:
		return sha1.New(), nil
	case SHA256:
		return sha256.New(), nil
	case SHA3256:
		return sha3.New256(), nil
	default:
		return nil, fmt.Errorf("CHAP %v is not supported", a)
	}
}

const maxChallenge = 1024 // bytes of CHAP_C and CHAP_R (RFC 7143 12.1.3)

// CHAPResponse returns the answer to a CHAP challenge: the hash of the identifier, the secret
// and the challenge (RFC 1994 4.1). It fails if the algorithm is not one of those above.
func CHAPResponse(a Algorithm, id byte, secret Secret, challenge []byte) ([]byte, error) {
	h, err := a.new()
	if err != nil {
		return nil, err
	}
	h.Write([]byte{id})
	h.Write(secret.bytes())
	h.Write(challenge)
	return h.Sum(nil), nil
}

// verify tells whether name and response are right, doing the same work whatever is wrong.
func (c *CHAP) verify(a Algorithm, id byte, challenge []byte, name string, response []byte) (bool, error) {
	want, err := CHAPResponse(a, id, c.Secret, challenge)
	if err != nil {
		return false, err
	}
	// Names are hashed so that a comparison takes no less time for a shorter one.
	given, user := sha256.Sum256([]byte(name)), sha256.Sum256([]byte(c.User))
	right := subtle.ConstantTimeCompare(given[:], user[:]) & subtle.ConstantTimeCompare(response, want)
	return right == 1 && c.Secret.IsSet(), nil
}
