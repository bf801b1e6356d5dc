// A Vulkan layer that witnesses a process: dispatches when their command buffer is submitted, and bytes of buffers while
// they have memory. It shares no code and no counter with what it watches. Counters stand in the file $WITNESS_FILE:
// five u64, see struct Counters. Build: c++ -O1 -shared -fPIC -std=c++17 witness.cpp -o libwitness.so
#include <vulkan/vulkan.h>
#include <vulkan/vk_layer.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>
#include <unordered_map>

namespace {

struct Counters {
  uint64_t devices, submits, dispatches, buffer_bytes, buffers;
};

Counters local, *counters = &local;
std::mutex guard;
std::unordered_map<VkCommandBuffer, uint64_t> recorded;  // dispatches in a command buffer
std::unordered_map<VkBuffer, uint64_t> sizes, bound;     // bytes as created; those that have memory

// One instance and one device are all that a test process makes.
PFN_vkGetInstanceProcAddr next_instance;
PFN_vkGetDeviceProcAddr next_device;
VkInstance the_instance;
VkDevice the_device;

template <typename F> F of_device(const char* name) { return reinterpret_cast<F>(next_device(the_device, name)); }

void open_file() {
  const char* path = std::getenv("WITNESS_FILE");
  int file = path ? open(path, O_RDWR | O_CREAT, 0600) : -1;
  if (file < 0 || ftruncate(file, sizeof(Counters)) != 0) return;
  void* shared = mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (shared != MAP_FAILED) counters = static_cast<Counters*>(shared);
  close(file);
}

VkResult BeginCommandBuffer(VkCommandBuffer commands, const VkCommandBufferBeginInfo* info) {
  { std::lock_guard lock(guard); recorded[commands] = 0; }
  return of_device<PFN_vkBeginCommandBuffer>("vkBeginCommandBuffer")(commands, info);
}

void CmdDispatch(VkCommandBuffer commands, uint32_t x, uint32_t y, uint32_t z) {
  { std::lock_guard lock(guard); recorded[commands]++; }
  of_device<PFN_vkCmdDispatch>("vkCmdDispatch")(commands, x, y, z);
}

void count_submitted(VkCommandBuffer commands) {
  std::lock_guard lock(guard);
  counters->dispatches += recorded[commands];
}

VkResult QueueSubmit(VkQueue queue, uint32_t n, const VkSubmitInfo* submits, VkFence fence) {
  counters->submits += n;
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = 0; j < submits[i].commandBufferCount; j++) count_submitted(submits[i].pCommandBuffers[j]);
  return of_device<PFN_vkQueueSubmit>("vkQueueSubmit")(queue, n, submits, fence);
}

VkResult CreateBuffer(VkDevice device, const VkBufferCreateInfo* info, const VkAllocationCallbacks* a, VkBuffer* out) {
  VkResult result = of_device<PFN_vkCreateBuffer>("vkCreateBuffer")(device, info, a, out);
  std::lock_guard lock(guard);
  if (result == VK_SUCCESS) sizes[*out] = info->size;
  return result;
}

void has_memory(VkBuffer buffer) {
  std::lock_guard lock(guard);
  bound[buffer] = sizes[buffer];
  counters->buffer_bytes += sizes[buffer];
  counters->buffers++;
}

VkResult BindBufferMemory(VkDevice device, VkBuffer buffer, VkDeviceMemory memory, VkDeviceSize offset) {
  VkResult result = of_device<PFN_vkBindBufferMemory>("vkBindBufferMemory")(device, buffer, memory, offset);
  if (result == VK_SUCCESS) has_memory(buffer);
  return result;
}

VkResult BindBufferMemory2(VkDevice device, uint32_t n, const VkBindBufferMemoryInfo* infos) {
  VkResult result = of_device<PFN_vkBindBufferMemory2>("vkBindBufferMemory2")(device, n, infos);
  for (uint32_t i = 0; result == VK_SUCCESS && i < n; i++) has_memory(infos[i].buffer);
  return result;
}

void DestroyBuffer(VkDevice device, VkBuffer buffer, const VkAllocationCallbacks* a) {
  {
    std::lock_guard lock(guard);
    if (auto found = bound.find(buffer); found != bound.end()) {
      counters->buffer_bytes -= found->second;
      counters->buffers--;
      bound.erase(found);
    }
    sizes.erase(buffer);
  }
  of_device<PFN_vkDestroyBuffer>("vkDestroyBuffer")(device, buffer, a);
}

template <typename Link> Link* link_of(const void* chain, VkStructureType type) {
  auto* link = static_cast<Link*>(const_cast<void*>(chain));
  while (link && !(link->sType == type && link->function == VK_LAYER_LINK_INFO))
    link = static_cast<Link*>(const_cast<void*>(link->pNext));
  return link;
}

VkResult CreateInstance(const VkInstanceCreateInfo* info, const VkAllocationCallbacks* a, VkInstance* out) {
  open_file();
  auto* link = link_of<VkLayerInstanceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
  if (!link) return VK_ERROR_INITIALIZATION_FAILED;
  next_instance = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  auto create = reinterpret_cast<PFN_vkCreateInstance>(next_instance(nullptr, "vkCreateInstance"));
  VkResult result = create(info, a, out);
  if (result == VK_SUCCESS) the_instance = *out;
  return result;
}

VkResult CreateDevice(VkPhysicalDevice gpu, const VkDeviceCreateInfo* info, const VkAllocationCallbacks* a, VkDevice* out) {
  auto* link = link_of<VkLayerDeviceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
  if (!link) return VK_ERROR_INITIALIZATION_FAILED;
  auto create = reinterpret_cast<PFN_vkCreateDevice>(next_instance(the_instance, "vkCreateDevice"));
  next_device = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  VkResult result = create(gpu, info, a, out);
  if (result == VK_SUCCESS) {
    the_device = *out;
    counters->devices++;
  }
  return result;
}

PFN_vkVoidFunction hook(const char* name) {
#define HOOK(f) if (!std::strcmp(name, "vk" #f)) return reinterpret_cast<PFN_vkVoidFunction>(f);
  HOOK(CreateInstance) HOOK(CreateDevice) HOOK(BeginCommandBuffer) HOOK(CmdDispatch) HOOK(QueueSubmit)
  HOOK(CreateBuffer) HOOK(BindBufferMemory) HOOK(BindBufferMemory2) HOOK(DestroyBuffer)
#undef HOOK
  return nullptr;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetDeviceProcAddr(VkDevice device, const char* name) {
  if (!std::strcmp(name, "vkGetDeviceProcAddr")) return reinterpret_cast<PFN_vkVoidFunction>(GetDeviceProcAddr);
  auto found = hook(name);
  return found ? found : next_device(device, name);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL GetInstanceProcAddr(VkInstance instance, const char* name) {
  if (!std::strcmp(name, "vkGetInstanceProcAddr")) return reinterpret_cast<PFN_vkVoidFunction>(GetInstanceProcAddr);
  if (!std::strcmp(name, "vkGetDeviceProcAddr")) return reinterpret_cast<PFN_vkVoidFunction>(GetDeviceProcAddr);
  auto found = hook(name);
  return found ? found : instance ? next_instance(instance, name) : nullptr;
}

}  // namespace

extern "C" VK_LAYER_EXPORT VkResult VKAPI_CALL vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface* v) {
  if (v->loaderLayerInterfaceVersion > 2) v->loaderLayerInterfaceVersion = 2;
  v->pfnGetInstanceProcAddr = GetInstanceProcAddr;
  v->pfnGetDeviceProcAddr = GetDeviceProcAddr;
  v->pfnGetPhysicalDeviceProcAddr = nullptr;
  return VK_SUCCESS;
}
