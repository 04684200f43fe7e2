// SHA-256 against the standard's examples, with the processor's instructions and without.

#include <gtest/gtest.h>

#include <string>

#include "adapters/hash/sha256.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

std::string hex(const Sha256& digest) {
  std::string text;
  for (const std::uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

// FIPS 180-4 and NIST's examples: none, one and two blocks, and many.
TEST(Sha256Digest, MatchesTheStandardsExamples) {
  const std::pair<std::string, const char*> examples[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
       "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
       "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
      {std::string(1'000'000, 'a'),
       "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}};
  for (const auto& [text, digest] : examples) {
    EXPECT_EQ(sha256_hex(text), digest);
    EXPECT_EQ(hex(sha256_portable(text)), digest);
  }
}

TEST(Sha256Digest, IsTheSameWithTheProcessorsInstructions) {
  if (!sha256_has_instructions()) GTEST_SKIP() << "this processor has no SHA instructions";
  Rng rng(7);
  std::string text;
  for (std::size_t size = 0; size < 400; ++size) {
    EXPECT_EQ(sha256(text), sha256_portable(text)) << size;
    text += static_cast<char>(rng.below(256));
  }
}

TEST(Sha256Digest, ComparesWholeDigests) {
  Sha256 other = sha256("token");
  EXPECT_TRUE(same_digest(other, sha256("token")));
  other[31] ^= 1;
  EXPECT_FALSE(same_digest(other, sha256("token")));
}

}  // namespace
}  // namespace paretod
